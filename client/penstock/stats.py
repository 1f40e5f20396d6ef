"""What a client counts of its calls: `client.stats()`. All of it is done when a call ends, and nothing for a chunk."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock import forks
from penstock.events import CacheHit, CallEnded, CallStarted, Hedged, Resumed, Retried, Slow

if TYPE_CHECKING:
    from penstock.endpoints.endpoint import EndpointStatus
    from penstock.hooks import Observers

# How much is remembered of each (method, model, tier): some 60 KiB.
RECENT_CALLS = 512
RECENT_GAPS = 2048
# So many different ones are told apart; calls of further models are counted together, as OTHER_MODELS.
MOST_SERIES = 256
OTHER_MODELS = "*"

# A first token is slow from this multiple of the 95th percentile on, which takes so many samples to mean something.
SLOW_FACTOR = 3.0
SLOW_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of the recent samples, in seconds; `samples` is how many there are."""

    p50: float
    p95: float
    p99: float
    samples: int


@dataclass(frozen=True, slots=True)
class CallStats:
    """The calls of one method, model and tier, since the client was made.

    ended, ok, errors: how many ended, how many of them well, and the others by the name of their gRPC status; a stream
        that was left early counts as "CANCELLED".
    in_flight: how many are open now.
    retries, hedges, resumed: how often a call was tried again, doubled while it waited, or went on after a break.
    cache_hits: answers that needed no call; they are not among the ended.
    prompt_tokens, completion_tokens: by the servers' count.
    seconds: whole calls; first_token: from the start of a stream to its first chunk; gap: between the chunks of a
        stream. None without a sample.
    tokens_per_second: of one call, after its first chunk, on average over the recent calls; None without a sample.
    """

    method: str
    model: str
    tier: str | None
    ended: int
    ok: int
    errors: Mapping[str, int]
    in_flight: int
    retries: int
    hedges: int
    resumed: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    seconds: Percentiles | None
    first_token: Percentiles | None
    gap: Percentiles | None
    tokens_per_second: float | None


@dataclass(frozen=True, slots=True)
class Stats:
    """`calls` has an entry for each method, model and tier that was used, `endpoints` one for each known server."""

    calls: Sequence[CallStats]
    endpoints: Sequence[EndpointStatus] = ()

    @property
    def in_flight(self) -> int:
        """The calls that are open now."""
        return sum(one.in_flight for one in self.calls)


def percentiles(samples: Iterable[float]) -> Percentiles | None:
    """The nearest-rank percentiles of the samples; None if there are none."""
    ordered = sorted(samples)
    if not ordered:
        return None
    p50, p95, p99 = (ordered[-(-len(ordered) * percent // 100) - 1] for percent in (50, 95, 99))
    return Percentiles(p50, p95, p99, len(ordered))


class _Series:
    """The calls of one method, model and tier."""

    __slots__ = ("counts", "errors", "first_tokens", "gaps", "rates", "seconds")

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.seconds: deque[float] = deque(maxlen=RECENT_CALLS)
        self.first_tokens: deque[float] = deque(maxlen=RECENT_CALLS)
        self.gaps: deque[float] = deque(maxlen=RECENT_GAPS)
        self.rates: deque[tuple[int, float]] = deque(maxlen=RECENT_CALLS)  # tokens, in so many seconds

    def add(self, end: CallEnded) -> None:
        self.counts["ended"] += 1
        self.counts["prompt_tokens"] += end.prompt_tokens or 0
        self.counts["completion_tokens"] += end.completion_tokens or 0
        if end.error is not None:
            self.errors[end.error.status.name] += 1
        self.seconds.append(end.seconds)
        self.gaps.extend(end.gaps)
        if end.first_token_seconds is not None:
            self.first_tokens.append(end.first_token_seconds)
        if end.completion_tokens:
            self.rates.append((end.completion_tokens, end.seconds - (end.first_token_seconds or 0)))

    def slow_limit(self) -> float | None:
        """The seconds from which a first token is slow; None while that cannot be told."""
        usual = percentiles(self.first_tokens)
        return SLOW_FACTOR * usual.p95 if usual is not None and usual.samples >= SLOW_SAMPLES else None

    def snapshot(self, method: str, model: str, tier: str | None) -> CallStats:
        tokens, seconds = (sum(column) for column in zip(*self.rates, strict=True)) if self.rates else (0, 0)
        counts = self.counts
        return CallStats(
            method=method,
            model=model,
            tier=tier,
            ended=counts["ended"],
            ok=counts["ended"] - self.errors.total(),
            errors=dict(self.errors),
            in_flight=counts["started"] - counts["ended"],
            retries=counts["retries"],
            hedges=counts["hedges"],
            resumed=counts["resumed"],
            cache_hits=counts["cache_hits"],
            prompt_tokens=counts["prompt_tokens"],
            completion_tokens=counts["completion_tokens"],
            seconds=percentiles(self.seconds),
            first_token=percentiles(self.first_tokens),
            gap=percentiles(self.gaps),
            tokens_per_second=tokens / seconds if seconds > 0 else None,
        )


class Statistics:
    """Counts what the observers are told. Threads may share it."""

    def __init__(self, observers: Observers) -> None:
        self._observers = observers
        self.renew_locks()
        forks.renew_locks_of(self)
        self._series: dict[tuple[str, str, str | None], _Series] = {}
        observers.on(CallStarted.name, self._started)
        observers.on(CallEnded.name, self._ended)
        observers.on(Retried.name, self._retried)
        observers.on(Hedged.name, self._hedged)
        observers.on(Resumed.name, self._resumed)
        observers.on(CacheHit.name, self._cache_hit)

    def renew_locks(self) -> None:
        # Reentrant, because a stream that is collected as garbage ends wherever its thread is, here too.
        self._lock = threading.RLock()

    def snapshot(self) -> list[CallStats]:
        """What was counted so far, by method, model and tier."""
        with self._lock:
            return [series.snapshot(*key) for key, series in self._series.items()]

    def _of(self, call: CallStarted | CacheHit) -> _Series:
        key = (call.method, call.model, call.tier)
        if key not in self._series and len(self._series) >= MOST_SERIES:
            key = (call.method, OTHER_MODELS, None)
        return self._series.setdefault(key, _Series())

    def _count(self, call: CallStarted | CacheHit, what: str) -> None:
        with self._lock:
            self._of(call).counts[what] += 1

    def _started(self, call: CallStarted) -> None:
        self._count(call, "started")

    def _retried(self, event: Retried) -> None:
        self._count(event.call, "retries")

    def _hedged(self, event: Hedged) -> None:
        self._count(event.call, "hedges")

    def _resumed(self, event: Resumed) -> None:
        self._count(event.call, "resumed")

    def _cache_hit(self, event: CacheHit) -> None:
        self._count(event, "cache_hits")

    def _ended(self, end: CallEnded) -> None:
        with self._lock:
            series = self._of(end.call)
            limit = series.slow_limit() if self._observers.heard(Slow) else None
            series.add(end)
        if limit is not None and end.first_token_seconds is not None and end.first_token_seconds > limit:
            self._observers.emit(Slow(end.call, end.first_token_seconds, limit / SLOW_FACTOR))
