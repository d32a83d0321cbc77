"""`psad serve`: a flag for each setting of the service, made from service/settings.py itself.

A setting that is not given as a flag comes from its RERANK_* variable, then from its default;
service/settings.py reads both, and checks all three alike.
"""

from __future__ import annotations

import inspect
import os
from typing import Annotated

import typer
from pydantic.fields import FieldInfo

from features.errors import BundleError
from service.settings import PREFIX, Settings

HELP = {
    "host": "Address to listen on; 0.0.0.0 inside a container.",
    "port": "Port to listen on; 0 takes a free one.",
    "workers": "Processes behind the port, each with a model and a thread that scores.",
    "device": "cpu or cuda; the start stops where it is not there.",
    "deadline_ms": "Time a request has when it names no deadline of its own.",
    "late_ms": "Wait this much longer for a score that is under way.",
    "on_failure": "incoming (answer in the incoming order) or error.",
    "max_body_bytes": "Larger bodies get 413.",
    "max_header_bytes": "Larger heads, address and headers together, get 431.",
    "max_headers": "More headers get 431.",
    "receive_seconds": "A request that is not whole this long after its first byte gets 408.",
    "keep_alive_seconds": "An idle connection is closed after this; longer than your balancer's.",
    "max_candidates": "Longer lists get 422.",
    "max_history": "Longer histories get 422.",
    "max_inflight": "Requests inside the process; beyond it: overload.",
    "max_queue": "Requests waiting for the model; beyond it: overload.",
    "max_batch": "Requests in one body of /rerank/batch; more get 422.",
    "max_batch_body_bytes": "Larger batches get 413.",
    "api_key": "Bearer key that callers must send; safer given as the variable.",
    "admin_key": "Bearer key of /admin, which is off without one; not the callers' key.",
    "api_keys_file": "File of more such keys, one a line; it may change while the service runs.",
    "admin_keys_file": "File of more keys of /admin, likewise.",
    "watch_seconds": "Look this often whether another version was published, or a file of keys "
    "changed; 0: only at the start.",
    "in_memory_mb": "Catalogues up to this size are read into memory; larger are mapped files.",
    "log_percent": "Log a line for this share of the requests: times and counts, no user, no item.",
    "traces": "OpenTelemetry traces, to where OTEL_EXPORTER_OTLP_ENDPOINT says (psad[traces]).",
    "store": "Users and histories by id: file:PATH or redis://HOST:PORT/0; turns /events on. "
    "With a password in it safer given as the variable.",
    "store_ms": "Time that a request waits for its user at most.",
    "store_days": "Days after which a user without an event is forgotten; 0: never.",
    "page": "A page at / to look at lists before and after; for people, not for production: "
    "its samples are lists of real users.",
    "shown_log": "A folder to write what was shown into, for `psad join`.",
    "shown_log_percent": "Share of the users whose lists are written, always the same ones.",
    "shown_log_features": "Write the features of users too.",
    "shown_log_file_mb": "A file ends at this size.",
    "shown_log_file_seconds": "A file ends at this age.",
    "shown_log_max_mb": "Size of the folder, from which on its oldest files are removed.",
    "drain_seconds": "After SIGTERM, go on serving this long while /readyz says 503.",
    "stop_seconds": "Then, time that requests in flight have to finish.",
}


def serve(**given: str | bool | None) -> None:
    """Serve a bundle: POST /rerank.

    With probes, metrics and a page to try it (/docs). BUNDLE is bundles/NAME, of which the current
    version is served, or one version's folder. Every flag can be given as the variable in
    brackets instead.

    \b
    Examples:
      psad serve bundles/psad
      psad serve bundles/psad --port 8080 --deadline-ms 20
      RERANK_BUNDLE=bundles/psad psad serve
    """
    from service.__main__ import serve as until_stopped

    settings = Settings.from_env(**given)
    if not os.path.exists(settings.bundle):  # a bundle that is there and broken may be mended
        raise BundleError(
            f"there is no bundle at {settings.bundle}. Name what an export wrote, "
            "or write it with `psad export RUN BUNDLE`."
        )
    until_stopped(settings)


def add_serve(app: typer.Typer) -> None:
    """Register the verb, its flags read from Settings."""
    fields = Settings.model_fields.items()
    parameters = [_argument() if name == "bundle" else _flag(name, one) for name, one in fields]
    serve.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command()(serve)


def _argument() -> inspect.Parameter:
    shown = typer.Argument(
        metavar="BUNDLE", help="What `export` wrote.", envvar=f"{PREFIX}BUNDLE", show_envvar=True
    )
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter("bundle", kind, annotation=Annotated[str, shown])


def _flag(name: str, field: FieldInfo) -> inspect.Parameter:
    """Text that Settings reads and checks, or a switch; None where it is not given."""
    default = "" if field.default is None else f", by default {field.default}"
    flag, is_switch = f"--{name.replace('_', '-')}", isinstance(field.default, bool)
    shown = typer.Option(
        f"{flag} / --no-{name}" if is_switch else flag,
        help=f"{HELP[name]} [{PREFIX}{name.upper()}{default}]",
        metavar="TEXT" if isinstance(field.default, str | None) else "NUMBER",
    )
    kind, value = inspect.Parameter.KEYWORD_ONLY, bool | None if is_switch else str | None
    return inspect.Parameter(name, kind, default=None, annotation=Annotated[value, shown])
