"""The page at `/`: a list before and after, for people. Off unless `--page` or RERANK_PAGE asks.

Its files lie in static/ and ask no other host for anything. Samples are the bundle's own golden
requests; titles come from its catalogue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from features.catalogue import Catalogue
from features.errors import BundleError
from service.body import read_body
from service.engine import Engine
from service.errors import ApiError
from service.headers import PAGE
from service.models import Models
from service.settings import Settings

_STATIC: Final = Path(__file__).parent / "static"
FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}


class Ids(BaseModel):
    """What titles are asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[str]


class Page:
    """The page's own questions to the model in service."""

    def __init__(self, settings: Settings, models: Models) -> None:
        self._settings, self._models = settings, models

    @staticmethod
    def file(path: str) -> Callable[[], Awaitable[Response]]:
        """Answers with one of FILES, read once."""
        name, kind = FILES[path]
        content = (_STATIC / name).read_bytes()

        async def answer() -> Response:
            return Response(content, media_type=kind, headers=PAGE)

        return answer

    async def samples(self) -> Response:
        """`{"samples": [bodies of /rerank], "titles": {id: title, or null where unknown}}`."""
        engine = self._engine()
        try:
            entries = await asyncio.to_thread(engine.bundle.golden)
            bodies = [entry["request"] for entry in entries]
            ids = [item for body in bodies for item in _ids_of(body)]
        except (BundleError, LookupError, TypeError):  # gone or altered since it was loaded
            raise ApiError(503, "no_samples", "the samples cannot be read any more") from None
        return JSONResponse({"samples": bodies, "titles": _titles(engine.bundle.catalogue, ids)})

    async def titles(self, request: Request) -> Response:
        """`{"titles": …}` of the ids in `{"ids": […]}`; raises ApiError."""
        body = await read_body(request, self._settings.max_body_bytes)
        try:
            ids = Ids.model_validate_json(body).ids
        except ValidationError:
            raise ApiError(422, "invalid", 'expected {"ids": [text, …]}') from None
        if len(ids) > (most := self._settings.max_candidates + self._settings.max_history):
            raise ApiError(422, "invalid", f"more than {most} ids", "ids")
        return JSONResponse({"titles": _titles(self._engine().bundle.catalogue, ids)})

    def _engine(self) -> Engine:
        if self._models.current is None:
            raise ApiError(503, "not_ready", f"the model is {self._models.state}")
        return self._models.current.engine


def _ids_of(body: dict[str, Any]) -> Iterable[str]:
    """Of history and candidates, whichever way they are written."""
    for items in (body.get("history") or [], body["candidates"]):
        given = items["id"] if isinstance(items, dict) else items
        for item in given:
            yield str(item["id"] if isinstance(item, dict) else item)


def _titles(catalogue: Catalogue, ids: Iterable[str]) -> dict[str, str | None]:
    """The title of each known id, or the id where the catalogue has no titles; None if unknown."""
    return {one: catalogue.title(one) if one in catalogue else None for one in ids}


def add_page(app: FastAPI, settings: Settings, models: Models) -> None:
    """Register the page; it is for people and stays out of the API's description."""
    page = Page(settings, models)
    for path in FILES:
        app.add_api_route(path, page.file(path), include_in_schema=False)
    app.add_api_route("/page/samples", page.samples, include_in_schema=False)
    app.add_api_route("/page/titles", page.titles, methods=["POST"], include_in_schema=False)
