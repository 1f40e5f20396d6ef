"""When a stream's next message is written: at once while the event loop has room, gathered while it is behind.

A message costs the same whatever it carries, and a busy front end spends its time on messages. Engines gather what
nobody has read yet, so the writer has only to come back a little later; how late the loop runs tells how much later.
"""

import asyncio
import random
import time

# At random, or samples would fall in step with the engine's and always find the loop just free.
_SAMPLE_SECONDS = (0.003, 0.007)
_WEIGHT_OF_NEWEST = 0.2  # a busy spell shows within a few samples, a single pause hardly
_IDLE_LAG_SECONDS = 0.0005  # timers are this late on an idle machine
_DELAY_PER_LAG = 20.0  # full delay from 0.5 ms of lag on: less would end before the engine has made a second token


class LoopLag:
    """How late the event loop runs what is due, smoothed, in seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def sample(self, late: float) -> None:
        """Take in that something was run `late` seconds after it was due."""
        self.seconds += _WEIGHT_OF_NEWEST * (max(late, 0.0) - self.seconds)

    async def watch(self) -> None:
        """Sample for ever."""
        while True:
            wait = random.uniform(*_SAMPLE_SECONDS)  # noqa: S311 - no secret depends on it
            due = time.monotonic() + wait
            await asyncio.sleep(wait)
            self.sample(time.monotonic() - due)


def delay_seconds(lag: float, longest: float) -> float:
    """How long a stream waits before its next message when the loop is `lag` seconds late: 0 to `longest`."""
    return min(_DELAY_PER_LAG * lag, longest) if lag > _IDLE_LAG_SECONDS else 0.0
