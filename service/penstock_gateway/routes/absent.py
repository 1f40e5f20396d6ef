"""OpenAI's routes that are not offered, so that their callers learn why and do not try again."""

from starlette.requests import Request
from starlette.responses import Response

from penstock.errors import NotSupportedError
from penstock_gateway.request_log import shortened

PATHS = (
    "/v1/audio/{rest:path}",
    "/v1/images/{rest:path}",
    "/v1/moderations",
    "/v1/responses",
    "/v1/responses/{rest:path}",
)
METHODS = ("GET", "POST", "DELETE")


async def not_offered(request: Request) -> Response:
    """Refuses."""
    raise NotSupportedError(f"{shortened(request.scope['path'])} is not offered here")
