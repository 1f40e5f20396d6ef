"""A thread for work that takes the interpreter for long: in turns that are fair between tenants, with rests between."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from penstock_service.fair_queue import FairQueue, Waiter

T = TypeVar("T")


class RestingThread:
    """Rests after each turn for as long as it took: half of the time belongs to other threads alone."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: FairQueue[_Turn] = FairQueue()
        self._lock = Lock()  # of the queue
        self._rests_until = 0.0

    async def run(self, tenant: str, cost: float, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Turns are fair by their costs, in any unit."""
        turn = _Turn(tenant, cost, work)
        with self._lock:
            self._waiting.add(turn)
        self._pool.submit(self._take_turn)
        try:
            returned: T = await asyncio.wrap_future(turn.returned)
            return returned
        except asyncio.CancelledError:
            self._leave(turn)
            raise
        finally:
            del turn  # it keeps its error, whose traceback keeps what is here

    def _leave(self, turn: "_Turn") -> None:
        with self._lock:
            if turn.waits:
                turn.waits = False
                self._waiting.remove(turn)

    def _take_turn(self) -> None:
        time.sleep(max(self._rests_until - time.monotonic(), 0.0))
        began = time.monotonic()
        turn = self._next()
        if turn is not None:
            turn.take()
        del turn  # as above
        now = time.monotonic()
        self._rests_until = now + (now - began)

    def _next(self) -> "_Turn | None":
        with self._lock:
            if not self._waiting:  # whose turn it was has left
                return None
            turn = self._waiting.pop()
            turn.waits = False
            return turn


class _Turn(Waiter):
    __slots__ = ("returned", "waits", "work")

    def __init__(self, tenant: str, cost: float, work: Callable[[], Any]) -> None:
        super().__init__(tenant, sequences=1, cost=cost)
        self.work = work
        self.waits = True
        self.returned: Future[Any] = Future()

    def take(self) -> None:
        """Do the work, unless nobody waits for it any more."""
        if not self.returned.set_running_or_notify_cancel():
            return
        try:
            self.returned.set_result(self.work())
        except BaseException as error:
            self.returned.set_exception(error)
            self = None  # type: ignore[assignment]  # of its traceback, which would keep what keeps the error
