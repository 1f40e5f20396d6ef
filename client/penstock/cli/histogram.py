"""Prometheus histograms: how many values were at most each bound. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Histogram:
    """bounds: upper bounds, ascending, the last infinite. counts: the values at most each of them; never falling."""

    bounds: tuple[float, ...] = (math.inf,)
    counts: tuple[float, ...] = (0,)

    @classmethod
    def of(cls, buckets: Mapping[float, float]) -> Histogram:
        """A histogram from its counts by bound."""
        bounds = sorted({*buckets, math.inf})
        return cls(tuple(bounds), tuple(buckets.get(bound, max(buckets.values(), default=0)) for bound in bounds))

    @property
    def total(self) -> float:
        """How many values there are."""
        return self.counts[-1]

    def since(self, older: Histogram) -> Histogram:
        """What has come since `older`; all of it where the counting began again in between."""
        if older.bounds != self.bounds or older.total > self.total:
            return self
        return Histogram(self.bounds, tuple(new - old for new, old in zip(self.counts, older.counts, strict=True)))

    def percentile(self, percent: float) -> float | None:
        """The value that `percent` of all values do not exceed, guessed as Prometheus' histogram_quantile does.

        Between two bounds the values are taken for evenly spread; below the first and above the last finite one nothing
        is known but that bound itself. None without values.
        """
        if self.total <= 0:
            return None
        rank = self.total * percent / 100
        place = bisect_left(self.counts, rank)
        low, high = self.bounds[max(place - 1, 0)], self.bounds[place]
        if math.isinf(high):
            return None if math.isinf(low) else low
        below, upto = self.counts[max(place - 1, 0)], self.counts[place]
        return high if place == 0 else low + (high - low) * (rank - below) / (upto - below)
