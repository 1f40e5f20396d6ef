"""`/v1/chat/completions` and `/v1/completions`."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from penstock import AsyncClient
from penstock.openai_shape.body import chat_arguments, completion_arguments
from penstock_gateway.body import json_body
from penstock_gateway.caller_headers import call_timeout, metadata
from penstock_gateway.chunk_stream import ChunkStream, ServerSentEvents
from penstock_gateway.disconnect import unless_gone
from penstock_gateway.drain import Drain
from penstock_gateway.request_log import record_of
from penstock_gateway.settings import Settings

Arguments = Callable[[Mapping[str, Any]], dict[str, Any]]


class Generation:
    """Body in, the client's facade, OpenAI's JSON out."""

    def __init__(self, client: AsyncClient, settings: Settings, drain: Drain) -> None:
        self._client = client
        self._settings = settings
        self._drain = drain

    async def chat_completions(self, request: Request) -> Response:
        """Answers a conversation."""
        return await self._answer(request, chat_arguments, self._client.chat.completions.create)

    async def completions(self, request: Request) -> Response:
        """Continues a text."""
        return await self._answer(request, completion_arguments, self._client.completions.create)

    async def _answer(self, request: Request, arguments: Arguments, create: Callable[..., Any]) -> Response:
        extra_headers = metadata(request.headers, self._settings)
        call = arguments(await json_body(request, self._settings.max_body_bytes))
        stream, record = call.get("stream", False), record_of(request.scope)
        record.asks(call.get("model"), stream)
        extra_body = {**call.pop("extra_body", {}), "request_id": record.request_id}
        timeout = call_timeout(request.headers, self._settings, stream)
        answer = create(**call, extra_body=extra_body, extra_headers=extra_headers, timeout=timeout)
        if stream:
            return ChunkStream(answer, self._drain, ServerSentEvents())
        async with self._drain.limit():
            reply = await unless_gone(request.receive, answer)
        record.answers(reply.model, reply.usage)
        return Response(reply.model_dump_json(exclude_unset=True), media_type="application/json")
