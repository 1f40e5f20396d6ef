"""`/v1/models`."""

from starlette.requests import Request
from starlette.responses import Response

from penstock import AsyncClient
from penstock.call_options import CallOptions
from penstock_gateway.caller_headers import metadata
from penstock_gateway.settings import Settings

LOOKUP_SECONDS = 10.0


class Models:
    """The models of the service, in OpenAI's shape."""

    def __init__(self, client: AsyncClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    async def list(self, request: Request) -> Response:
        """All of them."""
        models = await self._client.models.list(**self._options(request))
        return Response(models.model_dump_json(), media_type="application/json")

    async def retrieve(self, request: Request) -> Response:
        """One, by a name that may have slashes in it."""
        model = await self._client.models.retrieve(request.path_params["id"], **self._options(request))
        return Response(model.model_dump_json(), media_type="application/json")

    def _options(self, request: Request) -> CallOptions:
        return CallOptions(timeout=LOOKUP_SECONDS, metadata=metadata(request.headers, self._settings))
