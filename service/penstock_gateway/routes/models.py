"""`/v1/models`."""

from starlette.requests import Request
from starlette.responses import Response

from penstock import AsyncClient

LOOKUP_SECONDS = 10.0


class Models:
    """The models of the service, in OpenAI's shape."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self, request: Request) -> Response:
        """All of them."""
        models = await self._client.models.list(timeout=LOOKUP_SECONDS)
        return Response(models.model_dump_json(), media_type="application/json")

    async def retrieve(self, request: Request) -> Response:
        """One, by a name that may have slashes in it."""
        model = await self._client.models.retrieve(request.path_params["id"], timeout=LOOKUP_SECONDS)
        return Response(model.model_dump_json(), media_type="application/json")
