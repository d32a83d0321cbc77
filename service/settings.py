"""Settings: everything that can be set about the service, from RERANK_* variables or flags."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from features.encode import nearest
from service.errors import SettingsError

S = TypeVar("S", bound="Settings")
PREFIX: Final = "RERANK_"
METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # the name that Prometheus' client gave it
# Kubernetes sets these in every pod beside a Service named "rerank"; they are not meant for us.
_KUBERNETES: Final = re.compile(r"RERANK_(SERVICE_(HOST|PORT).*|PORT_\d+_(TCP|UDP).*)")


class Settings(BaseModel):
    """One service. Each field is RERANK_<NAME> in the environment and a flag of `psad serve`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path  # bundles/NAME (its CURRENT version is served), or one version's folder
    host: str = "127.0.0.1"  # address to listen on; 0.0.0.0 inside a container
    port: int = Field(default=8000, ge=0, le=65535)  # port to listen on; 0 takes a free one
    workers: int = Field(default=1, ge=1, le=256)  # processes behind the port, each with a model
    device: Literal["cpu", "cuda"] = "cpu"  # where the model runs; its absence stops the start
    deadline_ms: float = Field(default=50.0, gt=0, le=60_000)  # for requests that name none
    late_ms: float = Field(default=25.0, ge=0, le=60_000)  # wait this long for a score under way
    on_failure: Literal["incoming", "error"] = "incoming"  # for requests that do not choose
    max_body_bytes: int = Field(default=1_000_000, ge=1)  # larger bodies get 413
    max_header_bytes: int = Field(default=32_768, ge=256)  # address and headers; beyond: 431
    max_headers: int = Field(default=100, ge=1)  # their number, likewise
    receive_seconds: float = Field(default=10.0, gt=0, le=3_600)  # for a whole request; then 408
    keep_alive_seconds: int = Field(default=75, ge=0, le=86_400)  # an idle connection stays open
    max_candidates: int = Field(default=1_000, ge=1)  # longer lists get 422
    max_history: int = Field(default=500, ge=0)  # longer histories get 422
    max_inflight: int = Field(default=256, ge=1)  # requests inside one worker; beyond: overload
    max_queue: int = Field(default=64, ge=1)  # requests waiting for the model; beyond: overload
    max_batch: int = Field(default=64, ge=1)  # requests of one /rerank/batch; beyond: 422
    max_batch_body_bytes: int = Field(default=2_000_000, ge=1)  # of a batch; larger ones get 413
    api_key: SecretStr | None = Field(default=None, min_length=1)  # bearer key callers must send
    api_keys_file: Path | None = None  # more such keys, one a line; may change at any time
    admin_key: SecretStr | None = Field(default=None, min_length=1)  # turns /admin on, and opens it
    admin_keys_file: Path | None = None  # more such keys; service/keys.py
    watch_seconds: float = Field(default=2.0, ge=0, le=3_600)  # between looks at CURRENT; 0: none
    in_memory_mb: float = Field(default=1_000.0, ge=0)  # a larger catalogue is a mapped file
    store: SecretStr | None = None  # users by id: file:PATH or redis://HOST:PORT/DATABASE
    store_ms: float = Field(default=5.0, gt=0, le=60_000)  # a read's budget, within the deadline
    store_days: float = Field(default=90.0, ge=0, le=36_500)  # without an event, then forgotten
    log_percent: float = Field(default=0.0, ge=0, le=100)  # of the requests, as a line each
    traces: bool = False  # OpenTelemetry spans, to where its own OTEL_* variables say
    page: bool = False  # a page at / that shows lists before and after
    shown_log: Path | None = None  # a folder for what was shown, one row an item
    shown_log_percent: float = Field(default=100.0, gt=0, le=100)  # of the users, always the same
    shown_log_features: bool = False  # the users' features too
    shown_log_file_mb: float = Field(default=64.0, gt=0)  # a file ends at this size
    shown_log_file_seconds: float = Field(default=3_600.0, gt=0)  # or at this age
    shown_log_max_mb: float = Field(default=10_000.0, gt=0)  # of the folder; the oldest files go
    drain_seconds: float = Field(default=5.0, ge=0, le=3_600)  # after SIGTERM still served, unready
    stop_seconds: int = Field(default=20, ge=1)  # time for requests in flight after SIGTERM

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Self:
        """Read RERANK_* variables; `given` (flags) win. Raises SettingsError naming the fault."""
        environ = os.environ if environ is None else environ
        fields: dict[str, Any] = {}
        for name, value in environ.items():
            if name.startswith(PREFIX) and not _of_kubernetes(name, value):
                fields[_field(name, tuple(cls.model_fields))] = value
        fields |= {name: value for name, value in given.items() if value is not None}
        return _validated(cls, fields)


def _of_kubernetes(name: str, value: str) -> bool:
    return bool(_KUBERNETES.fullmatch(name)) or (
        name == "RERANK_PORT" and value.startswith(("tcp://", "udp://"))
    )


def _field(name: str, known: tuple[str, ...]) -> str:
    field = name.removeprefix(PREFIX).lower()
    if field in known:
        return field
    near = nearest(field, known)
    hint = f"; did you mean {PREFIX}{near.upper()}?" if near else ""
    raise SettingsError(f"the environment variable {name} is no setting of the service{hint}")


def _validated(cls: type[S], fields: Mapping[str, Any]) -> S:
    try:
        return cls.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        near = (
            nearest(name, tuple(cls.model_fields)) if first["type"] == "extra_forbidden" else None
        )
        hint = f" Did you mean {near}?" if near else ""
        raise SettingsError(
            f"setting {name} ({PREFIX}{name.upper()}): {first['msg']}.{hint}"
        ) from None
