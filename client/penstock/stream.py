"""Streams of chunks, blocking and asyncio.

Whoever leaves a stream early ends its generation: leaving the `with` block or the `for` loop, `close`, an exception,
the caller's cancellation and the loss of the last reference all cancel the call. grpc.aio does none of this by itself:
since 1.83 it does not even notice that a call was dropped.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from penstock.accumulate import Accumulator
from penstock.cancellation import being_cancelled, client_closed
from penstock.errors import APIError, RequestCancelled, StreamInterrupted
from penstock.reply import Chunk, Reply
from penstock.statuses import from_rpc_error
from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest

if TYPE_CHECKING:
    from typing_extensions import Self

    from penstock.channel import LazyAsyncChannel, LazyChannel

if TYPE_CHECKING:
    from grpc import _CallIterator

    ChunkCall = _CallIterator[GenerateChunk]

logger = logging.getLogger("penstock")


class _Progress:
    """What both flavours know of their stream; no I/O."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id or None
        self._received = Accumulator()
        self._over = False  # nothing more comes: ended, failed or closed
        self._complete = False
        self._error: APIError | None = None

    @property
    def text(self) -> str:
        """The text received so far."""
        return self._received.text

    def _take(self, proto: GenerateChunk) -> Chunk:
        self._received.add(proto)
        return Chunk(proto)

    def _end(self) -> None:
        """The server ended the stream with OK. Raises InternalServerError if something is missing."""
        self._received.check_complete()
        self._complete = True

    def _failure(self, error: APIError) -> APIError:
        """`error`, as what it means at this point of the stream."""
        if self._over:
            error = self._closed_early()
        elif self._received.count:
            error = StreamInterrupted(self._received.reply(), error)
        self._error = error
        return error

    def _closed_early(self) -> RequestCancelled:
        return RequestCancelled("the stream was closed before its end", request_id=self._request_id)

    def _whole_reply(self) -> Reply:
        if not self._complete:
            raise self._error or self._closed_early()
        return self._received.reply()


class Stream(_Progress):
    """A streamed answer: iterate it, best inside `with`. One thread reads; any thread may close.

    It raises what `generate` raises until the first chunk has come, and StreamInterrupted after that.
    """

    def __init__(self, call: ChunkCall, channel: LazyChannel, request_id: str) -> None:
        super().__init__(request_id)
        self._call = call
        self._channel = channel  # grpc ends a call whose channel nobody holds
        self._dropped = weakref.finalize(self, _cancel_dropped, call)
        self._dropped.atexit = False

    def __iter__(self) -> Iterator[Chunk]:
        try:
            while (chunk := self.read()) is not None:
                yield chunk
        finally:
            self.close()

    def __next__(self) -> Chunk:
        chunk = self.read()
        if chunk is None:
            raise StopIteration
        return chunk

    def reply(self) -> Reply:
        """The whole answer, after reading what is left of it. RequestCancelled if the stream was closed early."""
        while self.read() is not None:
            pass
        return self._whole_reply()

    def close(self) -> None:
        """End the stream, and its generation if that still runs. Idempotent."""
        self._over = True
        if self._dropped.detach():
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> Chunk | None:
        """The next chunk; None after the last, and once closed. Whatever it raises has ended the stream."""
        if self._over:
            return None
        try:
            chunk = self._receive()
        except BaseException:
            self.close()
            raise
        if chunk is None:
            self.close()
        return chunk

    def _receive(self) -> Chunk | None:
        try:
            proto = next(self._call, None)
            if proto is not None:
                return self._take(proto)
            self._end()
        except grpc.RpcError as error:
            raise self._failure(from_rpc_error(error, self._request_id)) from error
        except APIError as error:
            raise self._failure(error) from None
        return None


class AsyncStream(_Progress):
    """A streamed answer for asyncio: `async for` over it, best inside `async with`. One task reads; any task may close.

    It raises what `generate` raises until the first chunk has come, and StreamInterrupted after that. The caller's own
    cancellation passes through as asyncio.CancelledError and ends the generation.
    """

    def __init__(
        self, call: grpc.aio.UnaryStreamCall[GenerateRequest, GenerateChunk], channel: LazyAsyncChannel, request_id: str
    ) -> None:
        super().__init__(request_id)
        self._call = call
        self._channel = channel
        self._dropped = weakref.finalize(self, _cancel_dropped_on, asyncio.get_running_loop(), call)
        self._dropped.atexit = False

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        try:
            while (chunk := await self.read()) is not None:
                yield chunk
        finally:
            await self.aclose()

    async def __anext__(self) -> Chunk:
        chunk = await self.read()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def reply(self) -> Reply:
        """The whole answer, after reading what is left of it. RequestCancelled if the stream was closed early."""
        while await self.read() is not None:
            pass
        return self._whole_reply()

    async def aclose(self) -> None:
        """End the stream, and its generation if that still runs. Idempotent; it does not wait."""
        self.cancel()

    close = aclose

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def cancel(self) -> None:
        """What `aclose` does, for code that cannot await."""
        self._over = True
        if self._dropped.detach():
            self._call.cancel()

    async def read(self) -> Chunk | None:
        """The next chunk; None after the last, and once closed. Whatever it raises has ended the stream."""
        if self._over:
            return None
        try:
            chunk = await self._receive()
        except BaseException:
            self.cancel()
            raise
        if chunk is None:
            self.cancel()
        return chunk

    async def _receive(self) -> Chunk | None:
        try:
            # Not `async for` over the call: that would tie the call and an async generator into a cycle.
            proto = await self._call.read()
            if isinstance(proto, GenerateChunk):  # the other thing it can be is EOF
                return self._take(proto)
            self._end()
        except grpc.RpcError as error:
            raise self._failure(from_rpc_error(error, self._request_id)) from error
        except APIError as error:
            raise self._failure(error) from None
        except asyncio.CancelledError:
            # grpc.aio raises this both for a call that was cancelled here, which is ours, and for a cancelled caller.
            if (self._over or self._channel.closed) and not being_cancelled():
                raise self._failure(client_closed(self._request_id)) from None
            raise
        return None


def _cancel_dropped(call: grpc.Call) -> None:
    logger.warning("a stream was dropped before its end; use `with`, or close it")
    call.cancel()


def _cancel_dropped_on(loop: asyncio.AbstractEventLoop, call: grpc.aio.Call) -> None:
    """Garbage is collected in any thread; the call belongs to the loop's."""
    if loop.is_closed():
        return
    logger.warning("a stream was dropped before its end; use `async with`, or close it")
    loop.call_soon_threadsafe(call.cancel)
