"""What a service does now: the difference between two looks at its metrics. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from penstock.cli.histogram import Histogram
from penstock.cli.service_metrics import Reading

PERCENTS = (50, 90, 99)

Percentiles = dict[str, float] | None  # "p50", "p90", "p99", in seconds; None if there is nothing to tell


@dataclass(frozen=True)
class Activity:
    """What one endpoint does, or the error that keeps it from saying. None is what it does not report."""

    endpoint: str
    error: str | None = None
    running: float | None = None
    waiting: float | None = None
    kv_cache_usage: float | None = None
    prompt_tokens_per_s: float | None = None
    generated_tokens_per_s: float | None = None
    calls_per_s: float | None = None
    failed_calls_per_s: float | None = None
    first_token_s: Percentiles = None
    between_tokens_s: Percentiles = None

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


def activity(endpoint: str, now: Reading, before: Reading, seconds: float, window: Reading) -> Activity:
    """What went on in the `seconds` since the look `before`; percentiles are of what came since the look `window`."""

    def rate(new: float | None, old: float | None) -> float | None:
        if new is None or seconds <= 0:
            return None
        began_again = old is None or old > new
        return (new if began_again else new - (old or 0)) / seconds

    return Activity(
        endpoint=endpoint,
        running=now.running,
        waiting=now.waiting,
        kv_cache_usage=now.kv_cache_usage,
        prompt_tokens_per_s=rate(now.prompt_tokens, before.prompt_tokens),
        generated_tokens_per_s=rate(now.generated_tokens, before.generated_tokens),
        calls_per_s=rate(now.calls, before.calls),
        failed_calls_per_s=rate(now.failed_calls, before.failed_calls),
        first_token_s=_percentiles(now.first_token, window.first_token),
        between_tokens_s=_percentiles(now.between_tokens, window.between_tokens),
    )


def _percentiles(now: Histogram | None, window: Histogram | None) -> Percentiles:
    if now is None:
        return None
    recent = now.since(window) if window else now
    found = {f"p{percent}": recent.percentile(percent) for percent in PERCENTS}
    known = {name: value for name, value in found.items() if value is not None}
    return known or None
