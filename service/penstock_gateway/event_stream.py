"""Answers with a stream of chunks as server-sent events."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from penstock.errors import APIError, ServiceUnavailableError
from penstock.openai_shape.async_streams import AsyncChatCompletionStream, AsyncCompletionStream
from penstock.openai_shape.errors import error_response
from penstock_gateway import sse
from penstock_gateway.disconnect import CallerGoneError, unless_gone
from penstock_gateway.drain import Drain
from penstock_gateway.request_log import RequestRecord, record_of

Chunks = AsyncChatCompletionStream | AsyncCompletionStream


class EventStream(Response):
    """The reply of a streaming route. It begins with the first chunk: until then an error still gets its status."""

    def __init__(self, chunks: Chunks, drain: Drain) -> None:
        super().__init__(headers=sse.HEADERS)
        del self.headers["content-length"]
        self._chunks = chunks
        self._drain = drain
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
                await send({"type": "http.response.body", "body": _error_event(error), "more_body": False})

    async def _send(self, send: Send, record: RequestRecord) -> None:
        # Entering the stream waits for its first chunk; leaving it, for whatever reason, ends its gRPC call.
        async with self._chunks as chunks, aclosing(_events(chunks, record)) as events:
            self._begun = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _events(chunks: Chunks, record: RequestRecord) -> AsyncGenerator[bytes]:
    """One for each chunk, then [DONE] or, after a failure, the error."""
    try:
        async for chunk in chunks:
            record.answers(chunk.model, chunk.usage)
            yield sse.event(chunk.model_dump_json(exclude_unset=True))
    except APIError as error:
        record.fail(error)
        yield _error_event(error)
    else:
        yield sse.DONE


def _error_event(error: APIError) -> bytes:
    return sse.event(json.dumps({"error": error_response(error).body["error"]}))
