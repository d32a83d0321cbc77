"""/admin: which version serves. Off unless `--admin-key` or RERANK_ADMIN_KEY gives it a key.

What is asked for here is written into CURRENT, so that every worker that follows it comes along;
where the service may not write there, `psad publish` and `psad rollback` do it from outside.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI

from features.bundle import MANIFEST
from features.encode import nearest
from features.errors import BundleError
from features.pointer import Pointer, read_pointer
from service import docs, logs
from service.errors import ApiError
from service.info import name_of, refused_of
from service.models import Model, Models, without_paths
from service.schemas import Served, VersionInfo, VersionsInfo
from service.settings import Settings

ADMIN: Final = "/admin/"


class Admin:
    """The answers of /admin."""

    def __init__(self, settings: Settings, models: Models) -> None:
        self._home, self._models = settings.bundle, models

    async def versions(self) -> VersionsInfo:
        """All versions in the folder of bundles, and what this worker serves."""
        found = await asyncio.to_thread(_versions, self._home)
        models = self._models
        return VersionsInfo(
            model=name_of(models.current), versions=found, refused=refused_of(models)
        )

    async def load(self, version: str) -> Served:
        """Serve a version: it is loaded, proved by its golden requests, and published."""
        known = [one.version for one in await asyncio.to_thread(_versions, self._home)]
        if version not in known:
            near = nearest(version, known)
            hint = f"; did you mean {near}?" if near else ""
            raise ApiError(404, "no_such_version", f"there is no such version{hint}", "version")
        return await self._changed("load", self._models.serve(version))

    async def rollback(self) -> Served:
        """Serve the version before this one again."""
        return await self._changed("rollback", self._models.back())

    async def _changed(self, what: str, change: Awaitable[Model]) -> Served:
        try:
            model = await change
        except BundleError as error:
            logs.event("admin_refused", 30, what=what, reason=without_paths(error))
            raise ApiError(409, "not_served", without_paths(error)) from None
        except OSError as error:
            logs.event("admin_refused", 30, what=what, reason=error.strerror)
            message = (
                f"CURRENT cannot be written by the service ({error.strerror}): run `psad publish` "
                "or `psad rollback` where the bundles are written"
            )
            raise ApiError(409, "read_only", message) from None
        name = name_of(model)
        assert name is not None
        logs.event("admin", what=what, version=name.version)
        return Served(model=name, previous=name_of(self._models.previous))


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
    if manifest.parent.name == pointer.version:
        return "current"
    previous = pointer.previous
    return "previous" if previous and manifest.parent.name == previous.version else None


def _created(manifest: Path) -> str | None:
    try:
        return str(json.loads(manifest.read_bytes())["created"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def add_admin(app: FastAPI, settings: Settings, models: Models) -> None:
    """Register the routes."""
    admin = Admin(settings, models)
    for path, answer, method in (
        ("models", admin.versions, "GET"),
        ("models/{version}/load", admin.load, "POST"),
        ("rollback", admin.rollback, "POST"),
    ):
        app.add_api_route(
            f"{ADMIN}{path}", answer, methods=[method], tags=["admin"],
            responses=docs.ADMIN if method == "POST" else docs.KEYED,
        )  # fmt: skip
