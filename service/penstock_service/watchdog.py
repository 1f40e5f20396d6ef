"""Whether an engine that has work makes steps. Pure: it is told the time and asks nobody.

A probe of its own would wait behind the prefills that it is to tell from a hang, so the steps themselves are the sign
of life. vLLM's own check of its health asks only whether the process exists.
"""

from collections import deque
from enum import Enum, auto

_MOST_TICK_SECONDS = 0.25
# A tick that comes later than this saw its own process stand still: the host slept, or both were stopped.
_MOST_LATE_SECONDS = 2.0
# A step may take that many times the longest one of late before the engine counts as dead.
_LONGEST_GAPS = 10
_LATE_GAPS_SECONDS = 600.0


class Verdict(Enum):
    """What an engine looks like."""

    HEALTHY = auto()  # it makes steps, or has nothing to do
    STALLED = auto()  # it has made none for a while; it may go on
    HUNG = auto()  # it has made none for so long that it will not


class Watchdog:
    """Judges one engine, tick by tick. Seconds of `judge` are time.monotonic()'s.

    Silence is time with something to do and without a step. Only a step ends it: while there is nothing to do its clock
    stands still, so that callers who give up do not hide a hang. Past `stall_seconds` of it the engine is STALLED while
    there is something to do; past `hang_seconds`, or ten times its longest silence between two steps of the
    last ten minutes if that is longer, it is HUNG. Neither a stall that is over nor the first step after a pause counts
    as such a silence: the next hang is found as soon.
    """

    def __init__(self, stall_seconds: float, hang_seconds: float) -> None:
        self.tick_seconds = min(_MOST_TICK_SECONDS, stall_seconds / 4)
        self.silence = 0.0  # of the engine at the last tick
        self._stall_seconds = stall_seconds
        self._hang_seconds = hang_seconds
        self._last_tick: float | None = None
        self._steps = 0
        self._paused = True  # there was nothing to do since the last step
        self._gaps: deque[tuple[float, float]] = deque()  # when and how long, ever shorter

    def judge(self, now: float, running: int, steps: int, occupied: bool = False) -> Verdict:
        """What the engine looks like at `now`, with `running` jobs inside it and `steps` seen so far.

        `occupied`: it does something for its operator, and need make no steps meanwhile. Call it every `tick_seconds`.
        """
        since = self.tick_seconds if self._last_tick is None else now - self._last_tick
        late = self._last_tick is None or since > self.tick_seconds + _MOST_LATE_SECONDS
        stepped, at_work = steps != self._steps, running > 0 and not occupied
        if stepped and not late and not self._paused:
            self._note_gap(now, self.silence + since)
        if stepped or late:
            self.silence, self._paused = 0.0, False
        elif at_work:
            self.silence += since
        self._paused |= not at_work
        self._last_tick, self._steps = now, steps
        return self._verdict(now) if at_work else Verdict.HEALTHY

    def _verdict(self, now: float) -> Verdict:
        while self._gaps and now - self._gaps[0][0] > _LATE_GAPS_SECONDS:
            self._gaps.popleft()
        longest = self._gaps[0][1] if self._gaps else 0.0
        if self.silence > max(self._hang_seconds, _LONGEST_GAPS * longest):
            return Verdict.HUNG
        return Verdict.STALLED if self.silence > self._stall_seconds else Verdict.HEALTHY

    def _note_gap(self, now: float, gap: float) -> None:
        if not self._hang_seconds / _LONGEST_GAPS < gap <= self._stall_seconds:
            return  # it changes nothing, or was a stall
        while self._gaps and self._gaps[-1][1] <= gap:
            self._gaps.pop()
        self._gaps.append((now, gap))
