"""Answers with a stream of chunks: OpenAI's server-sent events, or another framing of them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from penstock.errors import APIError, ServiceUnavailableError
from penstock.openai_shape import server_sent_events
from penstock.openai_shape.async_streams import AsyncChatCompletionStream, AsyncCompletionStream
from penstock.openai_shape.types import ChatCompletionChunk, Completion
from penstock_gateway.disconnect import CallerGoneError, unless_gone
from penstock_gateway.drain import Drain
from penstock_gateway.request_log import RequestRecord, record_of

Chunks = AsyncChatCompletionStream | AsyncCompletionStream


class Framing(Protocol):
    """How chunks become bytes."""

    headers: dict[str, str]
    end: bytes  # what follows the last chunk, unless that is an error

    def chunk(self, chunk: ChatCompletionChunk | Completion) -> bytes:
        """The bytes for the next chunk; may be none. Raises APIError for one that has no form here."""

    def error(self, error: APIError) -> bytes:
        """The bytes for a failure after the first chunk."""


class ServerSentEvents:
    """OpenAI's framing: an event for each chunk, then [DONE] or the error."""

    headers = server_sent_events.HEADERS
    end = server_sent_events.DONE

    def chunk(self, chunk: ChatCompletionChunk | Completion) -> bytes:
        """See Framing."""
        return server_sent_events.chunk_event(chunk)

    def error(self, error: APIError) -> bytes:
        """See Framing."""
        return server_sent_events.error_event(error)


class ChunkStream(Response):
    """The reply of a streaming route. It begins with the first chunk: until then an error still gets its status."""

    def __init__(self, chunks: Chunks, drain: Drain, framing: Framing) -> None:
        super().__init__(headers=framing.headers)
        del self.headers["content-length"]
        self._chunks = chunks
        self._drain = drain
        self._framing = framing
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        try:
            async with self._drain.limit():
                await unless_gone(receive, self._send(send, record))
        except (CallerGoneError, ServiceUnavailableError) as error:
            if not self._begun:
                raise
            record.fail(error)
            if isinstance(error, ServiceUnavailableError):
                last_words = self._framing.error(error)
                await send({"type": "http.response.body", "body": last_words, "more_body": False})

    async def _send(self, send: Send, record: RequestRecord) -> None:
        # Entering the stream waits for its first chunk; leaving it, for whatever reason, ends its gRPC call.
        async with self._chunks as chunks, aclosing(self._frames(chunks, record)) as frames:
            self._begun = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for frame in frames:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _frames(self, chunks: Chunks, record: RequestRecord) -> AsyncGenerator[bytes]:
        try:
            async for chunk in chunks:
                record.answers(chunk.model, chunk.usage)
                if frame := self._framing.chunk(chunk):
                    yield frame
        except APIError as error:
            record.fail(error)
            yield self._framing.error(error)
        else:
            if self._framing.end:
                yield self._framing.end
