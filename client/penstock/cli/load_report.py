"""What a load came to. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.cli.load import MeasuredCall

PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True)
class Distribution:
    """Some durations in seconds, ascending; at least one."""

    values: tuple[float, ...]

    def percentile(self, percent: float) -> float:
        """The least value that `percent` of all values do not exceed."""
        return self.values[max(0, math.ceil(len(self.values) * percent / 100) - 1)]

    def as_json(self) -> dict[str, float]:
        """Milliseconds: the mean, the percentiles and the ends."""
        named = {f"p{percent}": self.percentile(percent) for percent in PERCENTS}
        mean = math.fsum(self.values) / len(self.values)
        figures = {"mean": mean, "min": self.values[0], **named, "max": self.values[-1]}
        return {name: round(value * 1e3, 3) for name, value in figures.items()}


@dataclass(frozen=True)
class LoadReport:
    """The figures of a load. A distribution is None where there is nothing to count; failed calls are in none."""

    calls: int
    seconds: float
    tokens: int
    errors: dict[str, int]
    first_token: Distribution | None
    per_token: Distribution | None
    total: Distribution | None

    @property
    def failed(self) -> int:
        """How many calls failed."""
        return sum(self.errors.values())

    @property
    def calls_per_s(self) -> float:
        """Calls that succeeded, by the second."""
        return (self.calls - self.failed) / self.seconds

    @property
    def tokens_per_s(self) -> float:
        """Tokens of the calls that succeeded, by the second."""
        return self.tokens / self.seconds

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "calls": self.calls,
            "failed": self.failed,
            "errors": self.errors,
            "seconds": round(self.seconds, 6),
            "calls_per_s": round(self.calls_per_s, 3),
            "completion_tokens": self.tokens,
            "tokens_per_s": round(self.tokens_per_s, 3),
            "first_token_ms": self.first_token and self.first_token.as_json(),
            "per_token_ms": self.per_token and self.per_token.as_json(),
            "total_ms": self.total and self.total.as_json(),
        }


def load_report(measured: Sequence[MeasuredCall], seconds: float) -> LoadReport:
    """The figures of these calls, which took so many seconds together."""
    succeeded = [call for call in measured if call.error is None]
    return LoadReport(
        calls=len(measured),
        seconds=seconds,
        tokens=sum(call.tokens for call in succeeded),
        errors=dict(Counter(call.error for call in measured if call.error is not None).most_common()),
        first_token=_distribution(call.first_token for call in succeeded),
        per_token=_distribution(call.per_token for call in succeeded),
        total=_distribution(call.total for call in succeeded),
    )


def _distribution(values: Iterable[float | None]) -> Distribution | None:
    known = sorted(value for value in values if value is not None)
    return Distribution(tuple(known)) if known else None
