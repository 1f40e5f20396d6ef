"""Reads one generation for the RPC that runs in the current task."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.v1.generation_pb2 import GenerateChunk
from penstock_service.reading import Readable, Reader


class StreamReader:
    """A Reader that waits."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - handlers are tasks
        self._task = task
        self._news = asyncio.Event()
        self._generation: Readable | None = None
        self._pause: asyncio.Future[None] | None = None
        self.interrupted = False

    def opened(self, generation: Readable) -> None:
        """See Reader."""
        self._generation = generation

    def news(self) -> None:
        """See Reader."""
        self._news.set()
        if self._pause is not None and self._reading.ended:
            _release(self._pause)

    def interrupt(self) -> None:
        """See Reader."""
        self.interrupted = True
        self._task.cancel()

    async def whole(self) -> GenerateChunk | None:
        """All of the generation in one chunk, once it has ended; None if it failed without output."""
        await self.end()
        return _taken(self._reading) if self._reading.readable else None

    async def end(self) -> None:
        """Wait until the generation has ended."""
        while not self._reading.ended:
            await self._wait()

    async def next(self) -> GenerateChunk | None:
        """The next chunk, with all that has gathered; None after the last."""
        generation = self._reading
        while not generation.readable:
            if generation.drained:
                return None
            await self._wait()
        return _taken(generation)

    async def gather(self, seconds: float) -> None:
        """Let output gather for so long, or until no more comes."""
        if not seconds or self._reading.ended:
            return
        loop = asyncio.get_running_loop()
        self._pause = loop.create_future()
        timer = loop.call_later(seconds, _release, self._pause)
        try:
            await self._pause
        finally:
            timer.cancel()
            self._pause = None

    @property
    def _reading(self) -> Readable:
        assert self._generation is not None  # noqa: S101 - Generations.open has called `opened`
        return self._generation

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()


@contextmanager
def ends_where_interrupted(reader: Reader) -> Iterator[None]:
    """End the block where `reader` interrupts its task, as if it were done."""
    try:
        yield
    except asyncio.CancelledError:
        if not reader.interrupted:
            raise
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


def _release(pause: "asyncio.Future[None]") -> None:
    if not pause.done():
        pause.set_result(None)


def _taken(generation: Readable) -> GenerateChunk:
    chunk = GenerateChunk()
    generation.take(chunk)
    return chunk
