"""When a stream's next message is written: at once while the event loop has room, gathered while it has not.

A message costs the same whatever it carries, and a busy front end spends its time on messages. Generations gather what
nobody has read yet, so the writer has only to come back a little later. A stream whose tokens are further apart than
the delay loses nothing by it: the delay is over before there is something to write.
"""

import asyncio
import random
import time

from penstock.v1.generation_pb2 import GenerateRequest

# At random, or samples would fall in step with the engine's and always find the loop just free.
_SAMPLE_SECONDS = (0.012, 0.028)
_WEIGHT_OF_NEWEST = 0.15  # a busy spell shows within a tenth of a second, a single pause hardly
# Lag alone does not show a loop that is busy in short bursts, as after each engine step; and timers are 0.5 ms late on
# an idle machine. The share of time that the loop's thread computes does not show a loop that something blocks.
_BUSY_FROM, _BUSY_FULLY = 0.10, 0.20
_LAG_FROM_SECONDS, _LAG_FULLY_SECONDS = 0.0005, 0.0010


class LoopLoad:
    """How busy the event loop is, smoothed."""

    def __init__(self) -> None:
        self.lag = 0.0  # how late the loop runs what is due, in seconds
        self.busy = 0.0  # the share of time that its thread computes, 0 to 1

    def sample(self, late: float, busy: float) -> None:
        """Take in that something was run `late` seconds after it was due, and the share since the last sample."""
        self.lag += _WEIGHT_OF_NEWEST * (max(late, 0.0) - self.lag)
        self.busy += _WEIGHT_OF_NEWEST * (busy - self.busy)

    @property
    def degree(self) -> float:
        """How much of its longest delay a stream should take: 0 while there is room, to 1."""
        by_lag = (self.lag - _LAG_FROM_SECONDS) / (_LAG_FULLY_SECONDS - _LAG_FROM_SECONDS)
        by_share = (self.busy - _BUSY_FROM) / (_BUSY_FULLY - _BUSY_FROM)
        return min(max(by_lag, by_share, 0.0), 1.0)

    async def watch(self) -> None:
        """Sample the running loop for ever."""
        started, computed = time.monotonic(), time.thread_time()
        while True:
            wait = random.uniform(*_SAMPLE_SECONDS)  # noqa: S311 - no secret depends on it
            due = time.monotonic() + wait
            await asyncio.sleep(wait)
            now, computing = time.monotonic(), time.thread_time()
            self.sample(now - due, (computing - computed) / (now - started))
            started, computed = now, computing


class Pace:
    """How long the streams of a server gather: `default_ms` at most unless a request says otherwise."""

    def __init__(self, load: LoopLoad, default_ms: int) -> None:
        self._load = load
        self._default_ms = default_ms

    def longest(self, request: GenerateRequest) -> float:
        """How long the request allows its output to be held back, in seconds."""
        given = request.response.HasField("max_delay_ms")
        return (request.response.max_delay_ms if given else self._default_ms) / 1000

    def delay_seconds(self, longest: float) -> float:
        """How long to wait now before the next message: 0 to `longest`."""
        return longest * self._load.degree
