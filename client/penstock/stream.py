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
from typing import TYPE_CHECKING, Protocol

from penstock.accumulate import Accumulator
from penstock.cancellation import closed_early
from penstock.chunk import Chunk
from penstock.chunk_calls import AsyncChunkCall, ChunkCall
from penstock.errors import (
    APIError,
    APITimeoutError,
    FirstTokenTimeout,
    IdleTimeout,
    RequestCancelled,
    StreamInterrupted,
)
from penstock.reply import Reply
from penstock.resilience.stream_course import StreamCourse
from penstock.status import GenerationStatus, generation_status

if TYPE_CHECKING:
    from typing_extensions import Self

    from penstock.aio_transport import AsyncTransport
    from penstock.transport import Transport

logger = logging.getLogger("penstock")


class Source(ChunkCall, Protocol):
    """What a stream reads from. A collector of garbage drops it, and must not wait for locks."""

    course: StreamCourse

    def drop(self) -> None: ...


class AsyncSource(AsyncChunkCall, Protocol):
    """What a stream of asyncio reads from."""

    course: StreamCourse


class _Progress:
    """What both flavours know of their stream; no I/O."""

    def __init__(self, course: StreamCourse) -> None:
        self._course = course
        self._received = Accumulator(course.first_seq, course.before)
        self._over = False  # nothing more comes: ended, failed or closed
        self._complete = False
        self._error: APIError | None = None

    @property
    def text(self) -> str:
        """The text received so far; that of the first sequence, if there are several."""
        return self._received.text

    @property
    def continued(self) -> int:
        """How often another replica has gone on with the answer, from the tokens that had come; mostly 0."""
        return self._course.continued

    @property
    def resumed(self) -> int:
        """How often it has gone on after a break, on the same replica or another; mostly 0."""
        return self._course.resumed

    @property
    def resume_token(self) -> str | None:
        """Where it can be read on, for `client.resume`; None before the first chunk and without resume=True."""
        resumption = self._course.resumption
        point = None if resumption is None else resumption.point
        return None if point is None else point.token()

    def _end(self) -> None:
        """The server ended the stream with OK. Raises InternalServerError if something is missing."""
        self._received.check_complete()
        self._complete = True
        self._course.ended(None, self._received)

    def _failure(self, error: APIError) -> APIError:
        """`error`, as what it means at this point of the stream."""
        if self._over:
            error = self._closed_early()
        elif self._received.count:
            error = self._broken_off(error)
        self._error = error
        self._course.ended(error, self._received)
        return error

    def _broken_off(self, error: APIError) -> APIError:
        partial, token = self._reply(), self.resume_token
        if isinstance(error, APITimeoutError):
            error.partial = partial
        if isinstance(error, (FirstTokenTimeout, IdleTimeout)):
            error.resume_token = token
            return error
        return StreamInterrupted(partial, error, token)

    def _left(self) -> None:
        """The caller reads no more."""
        self._over = True
        self._course.ended(self._error or self._closed_early(), self._received)

    def _closed_early(self) -> RequestCancelled:
        return closed_early(self._course.request_id)

    def _whole_reply(self) -> Reply:
        if not self._complete:
            raise self._error or self._closed_early()
        return self._reply()

    def _reply(self) -> Reply:
        reply = self._received.reply()
        reply.continued, reply.resumed = self.continued, self.resumed
        reply.cached = self._course.cached
        return reply


class Stream(_Progress):
    """A streamed answer: iterate it, best inside `with`. One thread reads; any thread may close.

    It raises what `generate` raises until the first chunk has come, and StreamInterrupted after that.
    """

    def __init__(self, call: Source, transport: Transport) -> None:
        super().__init__(call.course)
        self._transport = transport
        self._call = call
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

    def status(self) -> GenerationStatus:
        """Ask the server where the generation is; any thread may. Before its first chunk that needs a request_id, an
        idempotency_key or resume=True: ValueError without.
        """
        course = self._course
        request, terms = course.status_request(), course.terms
        return generation_status(self._transport.get_generation(request, terms, course.endpoint))

    def close(self) -> None:
        """End the stream, and its generation if that still runs. Idempotent."""
        self._left()
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
            proto = self._call.read()
            if proto is not None:
                self._received.add(proto)
                return Chunk(proto, self._course.continued, self._course.cached)
            self._end()
        except APIError as error:
            failure = self._failure(error)
            self.close()
            raise failure from error.__cause__
        except BaseException:
            self.close()
            raise
        self.close()
        return None


class AsyncStream(_Progress):
    """A streamed answer for asyncio: `async for` over it, best inside `async with`. One task reads; any task may close.

    It raises what `generate` raises until the first chunk has come, and StreamInterrupted after that. The caller's own
    cancellation passes through as asyncio.CancelledError and ends the generation.
    """

    def __init__(self, call: AsyncSource, transport: AsyncTransport) -> None:
        super().__init__(call.course)
        self._transport = transport
        self._call = call
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

    async def status(self) -> GenerationStatus:
        """Ask the server where the generation is; any task may. Before its first chunk that needs a request_id, an
        idempotency_key or resume=True: ValueError without.
        """
        course = self._course
        request, terms = course.status_request(), course.terms
        return generation_status(await self._transport.get_generation(request, terms, course.endpoint))

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
        self._left()
        if self._dropped.detach():
            self._call.cancel()

    async def read(self) -> Chunk | None:
        """The next chunk; None after the last, and once closed. Whatever it raises has ended the stream."""
        if self._over:
            return None
        try:
            proto = await self._call.read()
            if proto is not None:
                self._received.add(proto)
                return Chunk(proto, self._course.continued, self._course.cached)
            self._end()
        except APIError as error:
            failure = self._failure(error)
            self.cancel()
            raise failure from error.__cause__
        except BaseException:
            self.cancel()
            raise
        self.cancel()
        return None


def _cancel_dropped(call: Source) -> None:
    logger.warning("a stream was dropped before its end; use `with`, or close it")
    call.drop()


def _cancel_dropped_on(loop: asyncio.AbstractEventLoop, call: AsyncSource) -> None:
    """Garbage is collected in any thread; the call belongs to the loop's."""
    if loop.is_closed():
        return
    logger.warning("a stream was dropped before its end; use `async with`, or close it")
    loop.call_soon_threadsafe(call.cancel)
