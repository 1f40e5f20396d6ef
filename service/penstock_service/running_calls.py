"""Which admitted calls and sessions run, how to wait for them, and how to end them."""

import asyncio
import contextlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

from penstock_service.errors import Unavailable
from penstock_service.generation import Generation

# For the partial answers of the generations that a drain ends; then their tasks are cancelled.
_LAST_WORDS_SECONDS = 1.0
# For sessions whose calls have ended: to be written, read and ended. One whose caller does nothing ends by itself.
_SESSIONS_SECONDS = 3.0
# Calls that arrive once a server is stopped end with CANCELLED. So refused callers have time to go elsewhere: until
# none has come for so long, or for so long at the most.
_QUIET_SECONDS, _MOST_UNQUIET_SECONDS = 0.5, 3.0


class RunningCalls:
    """The tasks of the admitted calls, their generations, and the open sessions."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._generations: set[Generation] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._sessions = 0
        self._no_session = asyncio.Event()
        self._no_session.set()
        self._last_came = -math.inf  # by the event loop's clock
        self._hurried = asyncio.Event()
        self._ending = False

    def __len__(self) -> int:
        return len(self._tasks)

    def one_comes(self) -> None:
        """A call or a session has arrived, to be admitted or refused."""
        self._last_came = asyncio.get_running_loop().time()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Let the drain wait for the current task's call; by itself it is admitted in every stage."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - handlers are tasks
        self._tasks.add(task)
        self._idle.clear()
        try:
            yield
        except asyncio.CancelledError:
            if not self._ending:
                raise
            raise Unavailable("DRAINING") from None
        finally:
            self._tasks.discard(task)
            if not self._tasks:
                self._idle.set()

    @contextmanager
    def generation(self, generation: Generation) -> Iterator[None]:
        """End this generation, too, when the drain waits no longer."""
        self._generations.add(generation)
        try:
            yield
        finally:
            self._generations.discard(generation)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Let the drain wait a moment for this session, once no call runs."""
        self.one_comes()
        self._sessions += 1
        self._no_session.clear()
        try:
            yield
        finally:
            self._sessions -= 1
            if not self._sessions:
                self._no_session.set()

    async def idle(self) -> None:
        """Return when no admitted call runs."""
        await self._idle.wait()

    async def quiet(self) -> None:
        """Return when no call has come for a moment, or some do not cease to come."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _MOST_UNQUIET_SECONDS
        while (seconds := min(self._last_came + _QUIET_SECONDS, end) - loop.time()) > 0 and not self._hurried.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), seconds)

    async def sessions_over(self) -> None:
        """Return when no session is open, or some take too long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._no_session.wait(), _SESSIONS_SECONDS)

    def end(self) -> None:
        """End the calls that still run with UNAVAILABLE, after what they have got so far."""
        self._hurried.set()
        for generation in tuple(self._generations):
            generation.drain()
        asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, self._cancel)

    def _cancel(self) -> None:
        self._ending = True
        for task in self._tasks:
            task.cancel()
