"""Reading a body with a limit, before anything is decoded."""

from __future__ import annotations

from starlette.requests import Request

from service.errors import ApiError


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises ApiError 413 by what is announced, and by what really comes."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 15 or int(announced) > limit):
        raise too_large(limit)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "disconnected", "the body ended early")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large(limit: int) -> ApiError:
    """The refusal of a body over the limit."""
    return ApiError(413, "body_too_large", f"the body is over the limit of {limit} bytes")
