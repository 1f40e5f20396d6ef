"""Reads a request's body: JSON whatever its Content-Type says, and never much more of it than is allowed."""

from typing import Any

from starlette.requests import Request

from penstock.errors import RequestTooLargeError
from penstock.openai_shape.body import json_object


async def json_body(request: Request, max_body_bytes: int) -> dict[str, Any]:
    """The JSON object in the body. Raises BadRequestError or RequestTooLargeError."""
    return json_object(await _bytes(request, max_body_bytes))


async def _bytes(request: Request, max_body_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_body_bytes:
        raise _too_large(max_body_bytes)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > max_body_bytes:
            raise _too_large(max_body_bytes)
    return bytes(body)


def _too_large(max_body_bytes: int) -> RequestTooLargeError:
    return RequestTooLargeError(f"the body is larger than {max_body_bytes} bytes, the most that this server reads")
