"""A call of a session, for the thread that reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.chunk_calls import ChunkCall
from penstock.sessions.endings import cancelled, deadline_exceeded, finish
from penstock.sessions.inbox import Inbox
from penstock.v1.generation_pb2 import GenerateChunk

if TYPE_CHECKING:
    from penstock.calls import Calls
    from penstock.sessions.blocking import BlockingSession

OpenApart = Callable[["float | None"], ChunkCall]


class BlockingCall(Inbox):
    """Read by one thread, filled by the session's, cancelled by any."""

    __slots__ = ("_calls", "_deadline", "_instead", "_news", "_open_apart", "_request_id", "_session")

    def __init__(self, calls: Calls, request_id: str, timeout: float | None, open_apart: OpenApart) -> None:
        super().__init__()
        self._calls = calls  # grpc ends a session whose channel nobody holds
        self._request_id = request_id or None
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._open_apart = open_apart
        self._instead: ChunkCall | None = None
        self._session: BlockingSession | None = None
        self._news = threading.Lock()  # free once there is something to look at
        self._news.acquire()
        calls.open_streams.add(self)

    def begin(self, session: BlockingSession) -> None:
        self._session = session

    def read(self) -> GenerateChunk | None:
        while True:
            ending = self.ending
            if self.unread:
                return self.unread.popleft()
            if ending is not None:
                finish(ending, self._request_id)
                return None
            if self._instead is not None:
                return self._instead.read()
            self._wait()

    def _wait(self) -> None:
        left = self._time_left()
        if left is None:
            self._news.acquire()
        elif not self._news.acquire(timeout=min(max(left, 0), threading.TIMEOUT_MAX)):
            self.end(deadline_exceeded)

    def _time_left(self) -> float | None:
        return None if self._deadline is None else self._deadline - time.monotonic()

    def wake(self) -> None:
        """Free of locks that somebody could hold: a collector of garbage may be the one who calls."""
        if self._news.locked():
            try:
                self._news.release()
            except RuntimeError:  # another thread was faster
                return

    def cancel(self) -> None:
        self._calls.open_streams.discard(self)
        self.end(cancelled)
        self.wake()
        if self._instead is not None:
            self._instead.cancel()
        elif self._session is not None:
            self._session.cancel(self)

    def start_apart(self) -> None:
        """Begin again as a StreamGenerate, because the server has no sessions."""
        try:
            self._instead = self._open_apart(self._time_left())
        except ValueError:  # grpc's way to say that the channel was closed meanwhile
            self.end(cancelled)
        if self.ending is not None and self._instead is not None:
            self._instead.cancel()  # it was cancelled while it began
        self.wake()
