"""The service's refusals and their one shape: {"error": {type, message, param, request_id}}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic_core import to_json
from starlette.responses import Response

from features.errors import PsadError

Reason = Literal["deadline", "overload", "model_error", "nonfinite", "no_model"]
REASONS: Final[tuple[Reason, ...]] = (
    "deadline", "overload", "model_error", "nonfinite", "no_model",
)  # fmt: skip

Mode = Literal["scorer", "generator"]
MODES: Final[tuple[Mode, ...]] = ("scorer", "generator")

ECHOED: Final = 20  # characters of a caller's own text that a message may repeat


class SettingsError(PsadError):
    """Settings that cannot be read, or that contradict the environment."""


class StartRefused(PsadError):
    """The runtime asked for is not the runtime that is here; serving must not start."""


class ApiError(Exception):
    """A request that is answered by an error. `param` names the place in the body."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.param = status, kind, message, param


class Fallback(Exception):
    """A request that gets no scores: incoming order, or an error where the caller prefers one."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


_FAILURES: Final[Mapping[Reason, tuple[int, str]]] = {
    "deadline": (504, "no scores within the deadline"),
    "overload": (429, "too many requests at once; try again"),
    "model_error": (503, "the model failed on this request"),
    "nonfinite": (503, "the model gave scores that are not numbers"),
    "no_model": (503, "no model is loaded"),
}


def failure(reason: Reason) -> ApiError:
    """What a caller who chose `on_failure: "error"` gets in place of a fallback."""
    status, message = _FAILURES[reason]
    return ApiError(status, reason, message)


def caller_left() -> ApiError:
    """For the metrics alone, by the status that proxies use: nobody reads the answer."""
    return ApiError(499, "caller_left", "the caller closed the connection")


def no_memory() -> ApiError:
    """For a request that could not even be read: past that, it falls back."""
    return ApiError(503, "no_memory", "there is no memory for this request; try again")


def error_response(error: ApiError, request_id: str | None) -> Response:
    """The one error shape, with the headers that its status asks for."""
    fields = {
        "type": error.kind,
        "message": error.message,
        "param": error.param,
        "request_id": request_id,
    }
    headers: dict[int, dict[str, str]] = {
        401: {"WWW-Authenticate": "Bearer"},
        408: {"Connection": "close"},
        429: {"Retry-After": "1"},
    }
    return Response(
        to_json({"error": fields}),
        error.status,
        headers.get(error.status),
        media_type="application/json",
    )


def clipped(text: str) -> str:
    """A few characters of a caller's text, fit for a message: one line, plain ASCII."""
    shown = text[:ECHOED].encode("ascii", "backslashreplace").decode()
    shown = "".join(sign if sign.isprintable() else "?" for sign in shown)
    return shown + ("…" if len(text) > ECHOED else "")
