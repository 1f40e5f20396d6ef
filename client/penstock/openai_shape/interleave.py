"""The chunks of several asyncio streams as one sequence, in the order of their arrival."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Sequence

from penstock.chunk import Chunk
from penstock.errors import RequestCancelled
from penstock.reply import Reply
from penstock.stream import AsyncStream
from penstock.v1.generation_pb2 import GenerateRequest

OpenAsyncStream = Callable[[GenerateRequest], AsyncStream]
Arrivals = asyncio.Queue[tuple[int, Chunk] | BaseException | None]

WAITING_CHUNKS_A_STREAM = 2


class Interleaved:
    """Reads the streams of `requests`, which are opened at the first read. A single stream is read without a task."""

    def __init__(self, open_stream: OpenAsyncStream, requests: Sequence[GenerateRequest]) -> None:
        self._open = open_stream
        self._requests = requests
        self._streams: list[AsyncStream] = []
        self._running = 0
        self._closed = False

    async def read(self) -> tuple[int, Chunk] | None:
        """The next chunk and the number of its request; None after the last, and once closed."""
        if self._closed:
            return None
        if not self._streams:
            self._begin()
        if len(self._streams) > 1:
            return await self._next_arrival()
        chunk = await self._streams[0].read()
        return None if chunk is None else (0, chunk)

    async def replies(self) -> list[Reply]:
        """The whole answers, once `read` has returned None."""
        if not self._streams:
            raise RequestCancelled("the stream was closed before its end")
        return [await stream.reply() for stream in self._streams]

    def close(self) -> None:
        """Close all streams, which cancels those that still run. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for stream in self._streams:
            stream.cancel()
        if len(self._streams) > 1:
            self._dropped()
            with contextlib.suppress(asyncio.QueueFull):  # then nobody waits for it
                self._arrivals.put_nowait(RequestCancelled("the stream was closed before its end"))

    def _begin(self) -> None:
        self._streams = [self._open(request) for request in self._requests]
        if len(self._streams) > 1:
            self._pump()

    def _pump(self) -> None:
        self._running = len(self._streams)
        self._arrivals: Arrivals = asyncio.Queue(self._running * WAITING_CHUNKS_A_STREAM)
        pumps = [asyncio.create_task(_pump(i, stream, self._arrivals)) for i, stream in enumerate(self._streams)]
        # The tasks do not refer to this object, so that dropping it ends them.
        self._dropped = weakref.finalize(self, _cancel_all, asyncio.get_running_loop(), pumps)
        self._dropped.atexit = False

    async def _next_arrival(self) -> tuple[int, Chunk] | None:
        while self._running:
            arrival = await self._arrivals.get()
            if isinstance(arrival, BaseException):
                raise arrival
            if arrival is not None:
                return arrival
            self._running -= 1
        return None


async def _pump(index: int, stream: AsyncStream, arrivals: Arrivals) -> None:
    try:
        while (chunk := await stream.read()) is not None:
            await arrivals.put((index, chunk))
        await arrivals.put(None)
    except Exception as error:  # it is raised where the arrivals are read
        await arrivals.put(error)


def _cancel_all(loop: asyncio.AbstractEventLoop, pumps: Sequence[asyncio.Task[None]]) -> None:
    """Garbage is collected in any thread; the tasks belong to the loop's."""
    if not loop.is_closed():
        for pump in pumps:
            loop.call_soon_threadsafe(pump.cancel)
