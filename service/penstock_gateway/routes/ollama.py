"""Ollama's `/api/chat` and `/api/embed`."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from penstock import APIError, AsyncClient
from penstock.openai_shape.body import chat_arguments, embedding_arguments
from penstock.openai_shape.types import ChatCompletionChunk, Completion
from penstock_gateway.body import json_body
from penstock_gateway.caller_headers import call_timeout, metadata
from penstock_gateway.chunk_stream import ChunkStream
from penstock_gateway.disconnect import unless_gone
from penstock_gateway.drain import Drain
from penstock_gateway.ollama.chat_body import openai_chat_body
from penstock_gateway.ollama.embed_body import openai_embedding_body
from penstock_gateway.ollama.replies import ChatReply, embed_reply, ndjson, ollama_error
from penstock_gateway.request_log import record_of
from penstock_gateway.settings import Settings

HEADERS = {"content-type": "application/x-ndjson", "cache-control": "no-cache", "x-accel-buffering": "no"}


class OllamaLines:
    """Ollama's framing: a line for each piece, the last of them with `done`."""

    headers = HEADERS
    end = b""

    def __init__(self) -> None:
        self._reply = ChatReply(time.monotonic_ns)

    def chunk(self, chunk: ChatCompletionChunk | Completion) -> bytes:
        """See Framing."""
        return ndjson(self._reply.lines(chunk)) if isinstance(chunk, ChatCompletionChunk) else b""

    def error(self, error: APIError) -> bytes:
        """See Framing."""
        return ndjson([ollama_error(error)])


class Ollama:
    """Body in, the client's facade, Ollama's JSON out."""

    def __init__(self, client: AsyncClient, settings: Settings, drain: Drain) -> None:
        self._client = client
        self._settings = settings
        self._drain = drain

    async def chat(self, request: Request) -> Response:
        """Answers a conversation, as a stream unless the body says otherwise."""
        extra_headers = metadata(request.headers, self._settings)
        call = chat_arguments(openai_chat_body(await json_body(request, self._settings.max_body_bytes)))
        stream = call.get("stream", False)
        parameters = self._parameters(request, call, stream)
        answer: Any = self._client.chat.completions.create(**parameters, extra_headers=extra_headers)
        if stream:
            return ChunkStream(answer, self._drain, OllamaLines())
        reply = ChatReply(time.monotonic_ns)
        async with self._drain.limit():
            whole = await unless_gone(request.receive, answer)
        record_of(request.scope).answers(whole.model, whole.usage)
        return JSONResponse(reply.whole(whole))

    async def embed(self, request: Request) -> Response:
        """Turns texts into vectors."""
        started = time.monotonic_ns()
        extra_headers = metadata(request.headers, self._settings)
        call = embedding_arguments(openai_embedding_body(await json_body(request, self._settings.max_body_bytes)))
        parameters = self._parameters(request, call, stream=False)
        answer = self._client.embeddings.create(**parameters, extra_headers=extra_headers)
        async with self._drain.limit():
            vectors = await unless_gone(request.receive, answer)
        record_of(request.scope).answers(vectors.model, vectors.usage)
        return JSONResponse(embed_reply(vectors, time.monotonic_ns() - started))

    def _parameters(self, request: Request, call: dict[str, Any], stream: bool) -> dict[str, Any]:
        record = record_of(request.scope)
        record.asks(call.get("model"), stream)
        extra_body = {**call.pop("extra_body", {}), "request_id": record.request_id}
        timeout = call_timeout(request.headers, self._settings, stream)
        return {**call, "extra_body": extra_body, "timeout": timeout}
