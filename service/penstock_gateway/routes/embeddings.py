"""`/v1/embeddings`."""

from starlette.requests import Request
from starlette.responses import Response

from penstock import AsyncClient
from penstock.openai_shape.body import embedding_arguments
from penstock_gateway.body import json_body
from penstock_gateway.caller_headers import call_timeout, metadata
from penstock_gateway.disconnect import unless_gone
from penstock_gateway.drain import Drain
from penstock_gateway.request_log import record_of
from penstock_gateway.settings import Settings


class Embeddings:
    """Body in, the client's facade, OpenAI's JSON out."""

    def __init__(self, client: AsyncClient, settings: Settings, drain: Drain) -> None:
        self._client = client
        self._settings = settings
        self._drain = drain

    async def create(self, request: Request) -> Response:
        """Turns texts into vectors."""
        extra_headers = metadata(request.headers, self._settings)
        call = embedding_arguments(await json_body(request, self._settings.max_body_bytes))
        record = record_of(request.scope)
        record.asks(call.get("model"), stream=False)
        extra_body = {**call.pop("extra_body", {}), "request_id": record.request_id}
        timeout = call_timeout(request.headers, self._settings, stream=False)
        create = self._client.embeddings.create
        async with self._drain.limit():
            answer = create(**call, extra_body=extra_body, extra_headers=extra_headers, timeout=timeout)
            reply = await unless_gone(request.receive, answer)
        record.answers(reply.model, reply.usage)
        return Response(reply.model_dump_json(exclude_unset=True), media_type="application/json")
