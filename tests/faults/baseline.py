"""What a victim gets when nobody attacks: the bar that its streams are held against beside an attack. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tests.faults.percentile import percentile
from tests.faults.victim import DEADLINE_SECONDS, Window

LEAST_STREAMS = 300  # for a p99 that three streams tell
QUIET_GOODPUT = 0.95


@dataclass(frozen=True)
class Baseline:
    """Seconds until a stream is whole. A stream is good within three times the median: noise moves that the least."""

    streams: int
    median: float
    p99: float
    goodput: float

    @classmethod
    def of(cls, alone: Window) -> Baseline:
        """ValueError for fewer than LEAST_STREAMS, and where so many are slow that the machine has no time for it."""
        times = [each.whole_seconds or DEADLINE_SECONDS for each in alone.streams]
        if len(times) < LEAST_STREAMS:
            raise ValueError(f"a baseline takes {LEAST_STREAMS} streams, not {len(times)}")
        median, p99 = percentile(times, 0.5), percentile(times, 0.99)
        found = cls(len(times), median, p99, alone.goodput(3 * median))
        if found.goodput < QUIET_GOODPUT:
            raise ValueError(f"the machine is too noisy: {found}")
        return found

    @property
    def within(self) -> float:
        """The bar."""
        return 3 * self.median

    def is_quiet(self, window: Window) -> bool:
        """Whether a window without an attack is as the baseline; what was measured beside a noisy one says nothing."""
        return window.goodput(self.within) >= QUIET_GOODPUT

    def __str__(self) -> str:
        return (
            f"{self.streams} streams alone: median {1000 * self.median:.0f} ms, p99 {1000 * self.p99:.0f} ms, "
            f"{self.goodput:.1%} within {1000 * self.within:.0f} ms"
        )
