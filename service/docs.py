"""The OpenAPI document: what FastAPI finds in the routes, and the request that it cannot see."""

from __future__ import annotations

from itertools import chain
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from service.headers import of_docs
from service.keys import Keys
from service.schemas import (
    BatchRequest,
    BatchResponse,
    ErrorResponse,
    EventsRequest,
    RerankResponse,
    Trial,
)
from service.settings import Settings

_TEMPLATE = "#/components/schemas/{model}"
_ERRORS = {
    400: "The body is not JSON.",
    401: "A key is needed.",
    408: "The body did not arrive in time.",
    413: "The body is over the limit.",
    422: "The body is not a request that can be served; `param` names the place.",
    431: "Address and headers are over their limits.",
    429: "Overload, where `on_failure` is `error`. Retry-After says when to come back.",
    503: "No model or no usable scores, where `on_failure` is `error`; or no memory.",
    504: "No scores within the deadline, where `on_failure` is `error`.",
}
RERANK_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": RerankResponse,
        "headers": {
            "X-Request-ID": {"schema": {"type": "string"}},
            "X-Rerank-Fallback": {
                "description": "The reason, where the order is the incoming one.",
                "schema": {"type": "string"},
            },
        },
    },
    **{status: {"model": ErrorResponse, "description": text} for status, text in _ERRORS.items()},
}
KEYED: dict[int | str, dict[str, Any]] = {401: RERANK_RESPONSES[401]}
ADMIN: dict[int | str, dict[str, Any]] = {
    **KEYED,
    404: {"model": ErrorResponse, "description": "There is no such version."},
    408: RERANK_RESPONSES[408],
    413: RERANK_RESPONSES[413],
    422: {"model": ErrorResponse, "description": "The body is not what is asked for."},
    409: {
        "model": ErrorResponse,
        "description": "The version does not pass, there is none to go back to, or CURRENT cannot "
        "be written. What served goes on.",
    },
}
METRICS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}
NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"model": ErrorResponse, "description": "Not ready to serve."}
}
RERANK_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": _TEMPLATE.format(model="RerankRequest")}}
        },
    }
}
BATCH_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": BatchResponse},
    **{status: RERANK_RESPONSES[status] for status in (400, 401, 413)},
    422: {"model": ErrorResponse, "description": "The body is no batch, or one of too many."},
}
BATCH_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": _TEMPLATE.format(model="BatchRequest")}}
        },
    }
}
TRIAL_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Trial.model_json_schema()}},
    }
}

EVENTS_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": _TEMPLATE.format(model="EventsRequest")}}
        },
    }
}
_UNWRITTEN: dict[str, Any] = {
    "model": ErrorResponse,
    "description": "The store does not answer. Send the same once more.",
}
EVENTS: dict[int | str, dict[str, Any]] = {
    **{status: RERANK_RESPONSES[status] for status in (400, 401, 413)},
    422: {"model": ErrorResponse, "description": "An event is wrong; none was added."},
    429: {"model": ErrorResponse, "description": "Overload. Retry-After says when to come back."},
    503: _UNWRITTEN,
}
USER_DELETED: dict[int | str, dict[str, Any]] = {**KEYED, 503: _UNWRITTEN}
USER: dict[int | str, dict[str, Any]] = {
    **USER_DELETED,
    404: {"model": ErrorResponse, "description": "Nothing is kept of this user."},
}


# before any path is looked at
_EVERYWHERE = {
    400: "This is no HTTP request.",
    408: "The request did not arrive in time.",
    431: "Address and headers are over their limits.",
    503: "No memory for the request.",
}
_SCHEME = "bearer"


def document(app: FastAPI, settings: Settings, keys: Keys) -> None:
    """Make `app.openapi()` describe all that a caller may send and get, and show it at /docs."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes,
                                 description=app.description)  # fmt: skip
            bodies: list[type[BaseModel]] = [
                BatchRequest,
                *([EventsRequest] if "/events" in schema["paths"] else []),
            ]
            parts: dict[str, Any] = {}
            for body in bodies:
                request = body.model_json_schema(ref_template=_TEMPLATE)
                parts |= {**request.pop("$defs", {}), body.__name__: request}
            _limit(parts, settings)
            schema["components"]["schemas"].update(parts)
            for operation in chain.from_iterable(one.values() for one in schema["paths"].values()):
                _complete(operation, keys)
            scheme = {"type": "http", "scheme": "bearer"}
            schema["components"]["securitySchemes"] = {_SCHEME: scheme}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    async def page(request: Request) -> Response:
        root = str(request.scope.get("root_path", "")).rstrip("/")
        shown = get_swagger_ui_html(openapi_url=f"{root}/openapi.json", title=app.title,
                                    swagger_favicon_url="data:,")  # fmt: skip
        shown.headers.update(of_docs(bytes(shown.body).decode()))
        return shown

    app.add_api_route("/docs", page, include_in_schema=False)


def _complete(operation: dict[str, Any], keys: Keys) -> None:
    """Add what any path may be answered with, and whether it needs a key."""
    responses = operation["responses"]
    guard = keys.admin if "admin" in operation.get("tags", ()) else keys.api
    if guard is not None and "401" in responses:
        operation["security"] = [{_SCHEME: []}]
    shape = {"schema": {"$ref": _TEMPLATE.format(model="ErrorResponse")}}
    for status, text in _EVERYWHERE.items():
        answer = {"description": text, "content": {"application/json": shape}}
        responses.setdefault(str(status), answer)


def _limit(parts: dict[str, Any], settings: Settings) -> None:
    """Say how long lists may be here."""
    request, columns = parts["RerankRequest"]["properties"], parts["Columns"]["properties"]
    history = request["history"]["anyOf"][0]
    candidates = request["candidates"]["anyOf"][0], columns["id"], columns["score"]["anyOf"][0]
    history["maxItems"] = settings.max_history
    for one in candidates:
        one["maxItems"] = settings.max_candidates
    parts["BatchRequest"]["properties"]["requests"]["maxItems"] = settings.max_batch
