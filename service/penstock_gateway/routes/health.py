"""`/health`: whether the service behind the gateway serves."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from penstock import APIError, AsyncClient

PROBE_SECONDS = 2.0


class Health:
    """Asks the service each time: a gateway without its service is of no use to a balancer."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def show(self, request: Request) -> Response:
        """200 if the service says SERVING, else 503; either way with its word, or UNREACHABLE."""
        try:
            status = await self._client.health(timeout=PROBE_SECONDS)
        except APIError:
            status = "UNREACHABLE"
        return JSONResponse({"status": status}, 200 if status == "SERVING" else 503)
