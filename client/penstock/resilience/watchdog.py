"""Who looks after waiting readers: a thread for a blocking client, timers of the loop for asyncio."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable

from penstock.resilience.watch import Watch

logger = logging.getLogger("penstock")

# Then the thread ends, and the next watch starts another.
LINGER_SECONDS = 5.0

Look = Callable[[float], "float | None"]  # takes the time; tells when to look again


class Watchdog:
    """The thread is there while there is something to look at. Threads may share it; a forked child has its own."""

    def __init__(self) -> None:
        self._begin_in_this_process()

    def _begin_in_this_process(self) -> None:
        self._pid = os.getpid()
        self._news = threading.Condition(threading.RLock())
        self._looks: list[tuple[float, int, Look]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def look_after(self, watch: Watch) -> None:
        """Expire the watch when its limit has passed."""
        when = watch.look(time.monotonic())
        if when is not None:
            self._look_at(when, watch.look)

    def call(self, function: Callable[[], object]) -> None:
        """Call the function soon, in the thread: for a collector of garbage, which must not wait for locks."""

        def once(_: float) -> None:
            function()

        self._look_at(0.0, once)

    def _look_at(self, when: float, look: Look) -> None:
        if self._pid != os.getpid():
            self._begin_in_this_process()
        with self._news:
            heapq.heappush(self._looks, (when, next(self._numbers), look))
            if self._thread is None:
                self._start()
            elif self._looks[0][0] == when:
                self._news.notify()

    def _start(self) -> None:
        """RuntimeError where the system has no more threads; the next to call tries again."""
        self._thread = threading.Thread(target=self._run, name="penstock-watchdog", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._thread = None
            raise

    def _run(self) -> None:
        while (look := self._next()) is not None:
            try:
                again = look(time.monotonic())
            except Exception:
                logger.exception("a stream cannot be looked after")
                continue
            if again is not None:
                self._look_at(again, look)

    def _next(self) -> Look | None:
        """What to look at, once it is time; None if there has been nothing for a while."""
        with self._news:
            while True:
                wait = self._looks[0][0] - time.monotonic() if self._looks else LINGER_SECONDS
                if self._looks and wait <= 0:
                    return heapq.heappop(self._looks)[2]
                if not self._news.wait(min(wait, threading.TIMEOUT_MAX)) and not self._looks:
                    self._thread = None
                    return None


def look_after(watch: Watch, loop: asyncio.AbstractEventLoop) -> None:
    """Expire the watch when its limit has passed, with a timer of the loop."""
    now = time.monotonic()
    when = watch.look(now)
    if when is not None:
        loop.call_later(when - now, look_after, watch, loop)
