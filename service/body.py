"""Reading a body with a limit, before anything is decoded."""

from __future__ import annotations

import asyncio
from time import perf_counter

from starlette.requests import Request

from service.errors import ApiError, caller_left


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises ApiError 413 by what is announced, and by what really comes; 408 where
    it is not there in time.
    """
    if "begun" in request.scope:  # service/wire.py watches the clock
        return await _read(request, limit)
    try:
        async with asyncio.timeout(request.scope["visit"].whole_by - perf_counter()):
            return await _read(request, limit)
    except TimeoutError:
        raise _too_slow() from None


async def _read(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 15 or int(announced) > limit):
        raise too_large(limit)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise caller_left()
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
        more = message.get("more_body", False)
        if more and "late" in request.scope:
            raise _too_slow()
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_slow() -> ApiError:
    return ApiError(408, "too_slow", "the body did not arrive in time")


def too_large(limit: int) -> ApiError:
    """The refusal of a body over the limit."""
    return ApiError(413, "body_too_large", f"the body is over the limit of {limit} bytes")
