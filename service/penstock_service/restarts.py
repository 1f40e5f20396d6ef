"""How often a dead engine may be started again. Pure: it is told the time."""

from collections import deque

WITHIN_SECONDS = 600.0


class Restarts:
    """At most `most` restarts within ten minutes. Seconds are time.monotonic()'s."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun: deque[float] = deque()

    def begin(self, now: float) -> bool:
        """Whether there may be one at `now`, which then counts."""
        while self._begun and now - self._begun[0] >= WITHIN_SECONDS:
            self._begun.popleft()
        if len(self._begun) >= self._most:
            return False
        self._begun.append(now)
        return True
