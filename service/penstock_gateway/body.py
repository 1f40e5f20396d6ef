"""Reads a request's body: JSON whatever its Content-Type says, and never much more of it than is allowed."""

import json
from typing import Any

from starlette.requests import Request

from penstock.errors import BadRequestError, RequestTooLargeError


async def json_body(request: Request, max_body_bytes: int) -> dict[str, Any]:
    """The JSON object in the body. Raises BadRequestError or RequestTooLargeError."""
    body = await _bytes(request, max_body_bytes)
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is not valid JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise BadRequestError("the body must be a JSON object")
    return parsed


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
