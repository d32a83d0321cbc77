"""/admin: which version serves. Off unless a setting or a file gives it a key of its own.

What is asked for here is written into CURRENT, so that every worker that follows it comes along;
where the service may not write there, `psad publish` and `psad rollback` do it from outside.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final, TypeVar

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.requests import Request

from features.bundle import MANIFEST
from features.encode import nearest
from features.errors import BundleError
from features.pointer import Part, Pointer, read_pointer
from service import docs, logs
from service.body import read_body
from service.errors import ApiError, StartRefused
from service.info import name_of, refused_of, trial_of
from service.models import Model, Models, without_paths
from service.schemas import Served, Trial, Trials, VersionInfo, VersionsInfo
from service.settings import Settings

ADMIN: Final = "/admin/"

T = TypeVar("T")


class Admin:
    """The answers of /admin."""

    def __init__(self, settings: Settings, models: Models) -> None:
        self._home, self._models = settings.bundle, models
        self._limit = settings.max_body_bytes

    async def versions(self) -> VersionsInfo:
        """All versions in the folder of bundles, and what this worker serves."""
        found = await asyncio.to_thread(_versions, self._home)
        models = self._models
        return VersionsInfo(
            model=name_of(models.current), versions=found, refused=refused_of(models)
        )

    async def load(self, version: str) -> Served:
        """Serve a version: it is loaded, proved by its golden requests, and published."""
        await self._must_be_there(version)
        return await self._served("load", self._models.serve(version))

    async def split(self, request: Request) -> Trials:
        """Let another version answer a share of the users, always the same ones."""
        return await self._try("split", request)

    async def shadow(self, request: Request) -> Trials:
        """Ask another version too, for a share of the requests, and compare the orders."""
        return await self._try("shadow", request)

    async def _try(self, part: Part, request: Request) -> Trials:
        body = await read_body(request, self._limit)
        try:
            trial = Trial.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(map(str, first["loc"])) or None
            raise ApiError(422, "invalid", first["msg"][:200], place) from None
        if trial.version is None:
            await self._changed(part, self._models.end_trial(part))
        else:
            await self._must_be_there(trial.version)
            change = self._models.try_beside(part, trial.version, trial.percent)
            await self._changed(part, change)
        models = self._models
        return Trials(split=trial_of(models.split), shadow=trial_of(models.shadow))

    async def _must_be_there(self, version: str) -> None:
        known = [one.version for one in await asyncio.to_thread(_versions, self._home)]
        if version not in known:
            near = nearest(version, known)
            hint = f"; did you mean {near}?" if near else ""
            raise ApiError(404, "no_such_version", f"there is no such version{hint}", "version")

    async def rollback(self) -> Served:
        """Serve the version before this one again."""
        return await self._served("rollback", self._models.back())

    async def _served(self, what: str, change: Awaitable[Model]) -> Served:
        name = name_of(await self._changed(what, change))
        assert name is not None
        return Served(model=name, previous=name_of(self._models.previous))

    async def _changed(self, what: str, change: Awaitable[T]) -> T:
        try:
            changed = await change
        except (BundleError, StartRefused) as error:  # the latter where the device is not there
            logs.event("admin_refused", 30, what=what, reason=without_paths(error))
            raise ApiError(409, "not_served", without_paths(error)) from None
        except OSError as error:
            logs.event("admin_refused", 30, what=what, reason=error.strerror)
            message = (
                f"CURRENT cannot be written by the service ({error.strerror}): run `psad publish` "
                "or `psad rollback` where the bundles are written"
            )
            raise ApiError(409, "read_only", message) from None
        logs.event("admin", what=what)
        return changed


def _versions(home: Path) -> list[VersionInfo]:
    """By the time of export, newest first."""
    try:
        pointer: Pointer | None = read_pointer(home)
    except BundleError:
        pointer = None
    found = [
        VersionInfo(version=one.parent.name, created=_created(one), status=_status(one, pointer))
        for one in home.glob(f"*/{MANIFEST}")
        if not one.parent.name.startswith(".")
    ]
    return sorted(found, key=lambda one: (one.created or "", one.version), reverse=True)


def _status(manifest: Path, pointer: Pointer | None) -> Any:
    if pointer is None:
        return None
    roles = {"current": pointer, "split": pointer.split, "shadow": pointer.shadow,
             "previous": pointer.previous}  # fmt: skip
    version = manifest.parent.name
    return next((role for role, one in roles.items() if one and one.version == version), None)


def _created(manifest: Path) -> str | None:
    try:
        return str(json.loads(manifest.read_bytes())["created"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def add_admin(app: FastAPI, settings: Settings, models: Models) -> None:
    """Register the routes."""
    admin = Admin(settings, models)
    for path, answer, method, body in (
        ("models", admin.versions, "GET", None),
        ("models/{version}/load", admin.load, "POST", None),
        ("rollback", admin.rollback, "POST", None),
        ("split", admin.split, "POST", docs.TRIAL_REQUEST),
        ("shadow", admin.shadow, "POST", docs.TRIAL_REQUEST),
    ):
        app.add_api_route(
            f"{ADMIN}{path}", answer, methods=[method], tags=["admin"], openapi_extra=body,
            responses=docs.ADMIN if method == "POST" else docs.KEYED,
        )  # fmt: skip
