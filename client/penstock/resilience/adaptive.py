"""Limits that follow what calls have taken. Pure.

A limit that suits most calls kills healthy slow ones: a long prompt's first token takes its time. So limits widen with
the calls like this one before it, and never get shorter than what was asked for.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from penstock.stats import percentiles

WINDOW = 128
ENOUGH_SAMPLES = 20

FIRST_TOKEN_FACTOR = 3.0  # of the 95th percentile
IDLE_FACTOR = 8.0  # of the 99th percentile
MOST_WIDENING = 10.0  # times the limit that was asked for

# A call that ran into its limit would have taken longer, nobody knows how much. Left out, such calls would make the
# others look fast, and the limits shrink until nothing passes.
CENSORED_FACTOR = 1.5

MOST_KINDS = 512


@dataclass(frozen=True, slots=True)
class CallKind:
    """Calls that take about as long as each other. size: the power of two that the request's bytes are below."""

    group: str
    model: str
    method: str
    size: int


def call_kind(group: str, model: str, method: str, request_bytes: int) -> CallKind:
    return CallKind(group, model, method, request_bytes.bit_length())


class Experience:
    """What calls of one kind have taken, in seconds: the latest 128 of each."""

    __slots__ = ("_first_tokens", "_gaps")

    def __init__(self) -> None:
        self._first_tokens: deque[float] = deque(maxlen=WINDOW)
        self._gaps: deque[float] = deque(maxlen=WINDOW)

    def first_token(self, seconds: float) -> None:
        self._first_tokens.append(seconds)

    def gaps(self, seconds: Iterable[float]) -> None:
        self._gaps.extend(seconds)

    def first_token_timed_out(self, limit: float) -> None:
        self._first_tokens.append(CENSORED_FACTOR * limit)

    def idle_timed_out(self, limit: float) -> None:
        self._gaps.append(CENSORED_FACTOR * limit)

    def first_token_limit(self, base: float) -> float:
        usual = self.first_token_p95()
        return base if usual is None else widened(base, FIRST_TOKEN_FACTOR * usual)

    def idle_limit(self, base: float) -> float:
        usual = percentiles(tuple(self._gaps))
        if usual is None or usual.samples < ENOUGH_SAMPLES:
            return base
        return widened(base, IDLE_FACTOR * usual.p99)

    def first_token_p95(self) -> float | None:
        """None while there are too few samples to tell."""
        usual = percentiles(tuple(self._first_tokens))
        return None if usual is None or usual.samples < ENOUGH_SAMPLES else usual.p95


def widened(base: float, wanted: float) -> float:
    return min(max(base, wanted), MOST_WIDENING * base)


class Adaptive:
    """One client's experience with each kind of call, the oldest kinds forgotten. Threads may share it."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[CallKind, Experience] = OrderedDict()

    def of(self, kind: CallKind) -> Experience:
        experience = self._kinds.setdefault(kind, Experience())
        if len(self._kinds) > MOST_KINDS:
            self._kinds.popitem(last=False)
        return experience
