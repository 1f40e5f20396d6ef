"""What a stream of a client with a cache reads from."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from penstock.accumulate import Accumulator
from penstock.cancellation import closed_early
from penstock.chunk_calls import AsyncChunkCall
from penstock.reply import Reply
from penstock.resilience.stream_course import StreamCourse
from penstock.stream import AsyncSource, Source
from penstock.v1.generation_pb2 import GenerateChunk

if TYPE_CHECKING:
    from penstock.caching.cache_use import Question

SourceT = TypeVar("SourceT", Source, AsyncSource)


class _Replayed:
    def __init__(self, course: StreamCourse, chunk: GenerateChunk) -> None:
        self.course = course
        course.cached = True
        self._chunk: GenerateChunk | None = chunk

    def _next(self) -> GenerateChunk | None:
        chunk, self._chunk = self._chunk, None
        return chunk

    def cancel(self) -> None:
        self._chunk = None

    drop = cancel


class Replay(_Replayed):
    """A call that brings one chunk."""

    def read(self) -> GenerateChunk | None:
        return self._next()


class AsyncReplay(_Replayed):
    """A call that brings one chunk, for asyncio."""

    async def read(self) -> GenerateChunk | None:
        return self._next()


class _Kept(Generic[SourceT]):
    """A call whose answer is given to `keep`, if it is read to its end and one replica has made all of it."""

    def __init__(self, call: SourceT, keep: Callable[[Reply], None]) -> None:
        self.course = call.course
        self._call: SourceT = call
        self._keep = keep
        self._received = Accumulator()

    def _noted(self, chunk: GenerateChunk | None) -> GenerateChunk | None:
        if chunk is not None:
            self._received.add(chunk)
        elif not self.course.continued:
            self._received.check_complete()
            self._keep(self._received.reply())
        return chunk

    def cancel(self) -> None:
        self._call.cancel()


class KeptCall(_Kept[Source]):
    """A call whose answer is kept."""

    def read(self) -> GenerateChunk | None:
        return self._noted(self._call.read())

    def drop(self) -> None:
        self._call.drop()


class AsyncKeptCall(_Kept[AsyncSource]):
    """A call whose answer is kept, for asyncio."""

    async def read(self) -> GenerateChunk | None:
        return self._noted(await self._call.read())


class LateCall:
    """A call that begins with its first `read`, which asks first which model it is for."""

    def __init__(
        self, course: StreamCourse, ask: Callable[[], Question | None], begin: Callable[[Question | None], Source]
    ) -> None:
        self.course = course
        self._ask = ask
        self._begin = begin
        self._asked: Future[Question | None] = Future()
        self._call: Source | None = None
        self._closed = False

    def read(self) -> GenerateChunk | None:
        if self._call is None and not self._closed:
            self._call = self._begin(self._question())
        if self._call is None or self._closed:
            self.drop()
            raise closed_early(self.course.request.request_id or None)
        return self._call.read()

    def cancel(self) -> None:
        self._closed = True
        self._asked.cancel()
        if self._call is not None:
            self._call.cancel()

    def drop(self) -> None:
        self._closed = True
        if self._call is not None:
            self._call.drop()

    def _question(self) -> Question | None:
        """Asked in a thread of its own, because a unary call cannot be called off: `cancel` ends the waiting."""
        context = contextvars.copy_context()  # traces are in it
        threading.Thread(target=context.run, args=(self._answer,), name="penstock-model", daemon=True).start()
        try:
            return self._asked.result()
        except CancelledError:
            raise closed_early(self.course.request_id) from None

    def _answer(self) -> None:
        with suppress(InvalidStateError):  # nobody waits for it any more
            try:
                self._asked.set_result(self._ask())
            except Exception as error:
                self._asked.set_exception(error)


class AsyncLateCall:
    """A call that begins once it is known what it is."""

    def __init__(self, course: StreamCourse, beginning: Coroutine[Any, Any, AsyncChunkCall]) -> None:
        self.course = course
        self._beginning = asyncio.create_task(beginning)

    async def read(self) -> GenerateChunk | None:
        await asyncio.wait({self._beginning})
        if self._beginning.cancelled():
            raise closed_early(self.course.request.request_id or None)
        return await self._beginning.result().read()

    def cancel(self) -> None:
        beginning = self._beginning
        if not beginning.done():
            beginning.cancel()
        elif not beginning.cancelled() and beginning.exception() is None:
            beginning.result().cancel()
