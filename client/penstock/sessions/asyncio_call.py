"""A call of a session, for the task that reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.chunk_calls import AsyncChunkCall
from penstock.sessions.endings import Ending, cancelled, deadline_exceeded, finish
from penstock.sessions.inbox import Inbox
from penstock.v1.generation_pb2 import GenerateChunk

if TYPE_CHECKING:
    from penstock.calls import AsyncCalls
    from penstock.sessions.asyncio_session import AsyncioSession

OpenApart = Callable[["float | None"], AsyncChunkCall]


class AsyncioCall(Inbox):
    """Everything happens on the session's loop."""

    __slots__ = (
        "_calls",
        "_deadline",
        "_instead",
        "_loop",
        "_open_apart",
        "_request_id",
        "_session",
        "_timer",
        "_waiter",
    )

    def __init__(self, calls: AsyncCalls, request_id: str, timeout: float | None, open_apart: OpenApart) -> None:
        super().__init__()
        self._calls = calls  # grpc ends a session whose channel nobody holds
        self._request_id = request_id or None
        self._loop = asyncio.get_running_loop()
        self._deadline = None if timeout is None else self._loop.time() + timeout
        # Also while nobody reads; the server's own clock cannot be relied on when it is out of reach.
        self._timer = None if self._deadline is None else self._loop.call_at(self._deadline, self._expire)
        self._open_apart = open_apart
        self._instead: AsyncChunkCall | None = None
        self._session: AsyncioSession | None = None
        self._waiter: asyncio.Future[None] | None = None
        calls.open_streams.add(self)

    def begin(self, session: AsyncioSession) -> None:
        self._session = session

    async def read(self) -> GenerateChunk | None:
        while not self.unread:
            if self.ending is not None:
                finish(self.ending, self._request_id)
                return None
            if self._instead is not None:
                return await self._instead.read()
            self._waiter = waiter = self._loop.create_future()
            await waiter
        return self.unread.popleft()

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():  # the task that waited can have been cancelled
                waiter.set_result(None)

    def end(self, ending: Ending) -> None:
        super().end(ending)
        if self._timer is not None:
            self._timer.cancel()

    def cancel(self) -> None:
        self._calls.open_streams.discard(self)
        if self._instead is not None:
            self._instead.cancel()
        self._end_here(cancelled)

    def _expire(self) -> None:
        self._end_here(deadline_exceeded)

    def _end_here(self, ending: Ending) -> None:
        self.end(ending)
        self.wake()
        if self._session is not None:
            self._session.cancel(self)

    def start_apart(self) -> None:
        """Begin again as a StreamGenerate, because the server has no sessions."""
        if self._timer is not None:
            self._timer.cancel()
        left = None if self._deadline is None else self._deadline - self._loop.time()
        self._instead = self._open_apart(left)
        self.wake()
