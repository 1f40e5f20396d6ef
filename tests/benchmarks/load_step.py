"""Whether a server that was overloaded for a while is soon what it was before."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from random import Random

from tests.benchmarks.service_level import Users
from tests.faults.open_loop import open_loop, poisson
from tests.faults.percentile import percentile
from tests.faults.streamed_call import StreamedCall

LOW, HIGH = 0.5, 3.0


@dataclass(frozen=True)
class Recovery:
    """`seconds` after the drop of the load until first tokens came as before it; infinite if they never did."""

    seconds: float
    before: float  # p99 of the first token at the low load
    during: float  # and of those admitted at the high one

    def __str__(self) -> str:
        return (
            f"load {LOW}x, {HIGH}x, {LOW}x: first token p99 {1000 * self.before:.0f} ms, {1000 * self.during:.0f} ms, "
            f"and as before {self.seconds:g} s after the drop"
        )


async def load_step(users: Users, full: float, seconds: float, rng: Random, margin: float) -> Recovery:
    """Offer half the capacity, then three times it, then half again, for so many seconds each.

    `margin` seconds above the p99 of before still count as before: the engine's step is the grain of a first token.
    """
    loads = [(LOW, 0.0), (HIGH, seconds), (LOW, 2 * seconds)]
    times = [at for factor, begin in loads for at in poisson(factor * full, seconds, rng, begin)]
    began = time.monotonic()
    calls = await open_loop(times, users.ask)
    phases = [[call for call in calls if 0 <= call.due - began - begin < seconds] for _, begin in loads]
    before, during, _ = (percentile(_first_tokens(phase), 0.99) for phase in phases)
    return Recovery(_recovered(phases[2], began + 2 * seconds, before + margin), before, during)


def _recovered(calls: list[StreamedCall], drop: float, limit: float) -> float:
    """The first full second after the drop from which on 99 of 100 calls have their first token within the limit."""
    if not calls:
        return math.inf
    for second in range(math.ceil(calls[-1].due - drop)):
        later = [call for call in calls if call.due >= drop + second]
        times = [math.inf if call.first_token_seconds is None else call.first_token_seconds for call in later]
        if percentile(times, 0.99) <= limit:
            return second
    return math.inf


def _first_tokens(calls: list[StreamedCall]) -> list[float]:
    return [call.first_token_seconds for call in calls if call.first_token_seconds is not None]
