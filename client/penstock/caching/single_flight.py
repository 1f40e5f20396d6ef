"""Identical calls at the same time share one, in both flavours.

Each caller keeps its own time limit and may leave; the shared call goes on for the others, and ends when the last has
left. A failure is everybody's, except one that comes of the first caller's own limits: the others go on without it.
"""

from __future__ import annotations

import asyncio
import copy
import os
import threading
import time
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeGuard, TypeVar

from penstock import forks
from penstock.errors import APIError, APITimeoutError

T = TypeVar("T")


def concerns_all(error: BaseException | None) -> TypeGuard[APIError]:
    """Whether each of the callers would have failed like this: not by the first one's deadline or interruption."""
    return isinstance(error, APIError) and not isinstance(error, APITimeoutError)


def _left_behind() -> APITimeoutError:
    return APITimeoutError("the deadline passed before an identical call that was under way had its answer")


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.landed = threading.Event()
        self.waiting = 0
        self.answer: T | None = None
        self.error: BaseException | None = None


class Flights(Generic[T]):
    """Calls of threads. The first caller's thread does the work."""

    def __init__(self) -> None:
        self.renew_locks()
        forks.renew_locks_of(self)
        self._flights: dict[Hashable, _Flight[T]] = {}

    def renew_locks(self) -> None:
        self._lock = threading.Lock()

    def run(self, key: Hashable, call: Callable[[], T], ends: float | None) -> tuple[T, bool]:
        """What `call` returns, and whether it was another caller's. `ends` is on time.monotonic."""
        place = (os.getpid(), key)  # a fork leaves the threads behind that were at work
        while True:
            with self._lock:
                flight = self._flights.get(place)
                leads = flight is None
                if flight is None:
                    flight = self._flights[place] = _Flight()
                flight.waiting += 1
            if leads:
                return self._lead(place, flight, call), False
            if not self._landed(flight, ends):
                raise _left_behind()
            if flight.answer is not None:
                return flight.answer, True
            if concerns_all(flight.error):
                raise _own(flight.error)

    @property
    def waiting(self) -> int:
        """How many callers wait now, those included whose threads do the work."""
        return sum(flight.waiting for flight in list(self._flights.values()))

    def _landed(self, flight: _Flight[T], ends: float | None) -> bool:
        try:
            return flight.landed.wait(None if ends is None else max(0.0, ends - time.monotonic()))
        finally:
            with self._lock:
                flight.waiting -= 1

    def _lead(self, place: Hashable, flight: _Flight[T], call: Callable[[], T]) -> T:
        try:
            flight.answer = call()
            return flight.answer
        except BaseException as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[place]
            flight.landed.set()


class _AsyncFlight(Generic[T]):
    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiting = 0


class AsyncFlights(Generic[T]):
    """Calls of tasks, each in a task of its own that no caller's cancellation reaches while others wait for it."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _AsyncFlight[T]] = {}

    async def run(
        self, key: Hashable, call: Callable[[], Coroutine[Any, Any, T]], ends: float | None
    ) -> tuple[T, bool]:
        """What `call` returns, and whether it was another caller's. `ends` is on time.monotonic."""
        place = (asyncio.get_running_loop(), key)
        while True:
            flight = self._flights.get(place)
            leads = flight is None
            if flight is None:
                flight = self._begin(place, call)
            # The call itself keeps the first caller's deadline.
            await self._landing(place, flight, None if leads else ends)
            self._remove(place, flight)
            if flight.task.cancelled():
                continue
            error = flight.task.exception()
            if error is None:
                return flight.task.result(), not leads
            if leads:
                raise error
            if concerns_all(error):
                raise _own(error)

    @property
    def waiting(self) -> int:
        """How many callers wait now."""
        return sum(flight.waiting for flight in list(self._flights.values()))

    def _begin(self, place: Hashable, call: Callable[[], Coroutine[Any, Any, T]]) -> _AsyncFlight[T]:
        flight = self._flights[place] = _AsyncFlight(asyncio.create_task(call()))

        def land(task: asyncio.Task[T]) -> None:
            self._remove(place, flight)
            if not task.cancelled():
                task.exception()  # read, because asyncio complains of those that nobody reads

        flight.task.add_done_callback(land)
        return flight

    async def _landing(self, place: Hashable, flight: _AsyncFlight[T], ends: float | None) -> None:
        """Wait for the end of the call; whoever leaves last ends it."""
        flight.waiting += 1
        try:
            left = None if ends is None else max(0.0, ends - time.monotonic())
            done, _ = await asyncio.wait({flight.task}, timeout=left)
            if not done:
                raise _left_behind()
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._remove(place, flight)
                flight.task.cancel()

    def _remove(self, place: Hashable, flight: _AsyncFlight[T]) -> None:
        if self._flights.get(place) is flight:
            del self._flights[place]


def _own(error: APIError) -> APIError:
    """A copy for one more caller: raising an exception writes into it."""
    mine = copy.copy(error)
    mine.__cause__ = error
    return mine
