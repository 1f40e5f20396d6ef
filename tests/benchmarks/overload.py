"""What a server is good for when more is asked of it than it can do.

Offered are multiples of the capacity that the same run measures, as Poisson arrivals that wait for nobody. Good are
answers within the service level (tests/benchmarks/service_level.py). The server runs on one core, its load on another.

    python -m tests.benchmarks.overload [--seconds 60] [--seed 1] [--unlimited] [--record]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.benchmarks.load_step import Recovery, load_step
from tests.benchmarks.retry_amplification import Amplification, amplification
from tests.benchmarks.service_level import ADMIT_EVERYTHING, ServedModel, ServiceLevel, Users, capacity, connections
from tests.faults.open_loop import open_loop, poisson
from tests.faults.percentile import percentile
from tests.faults.promises import record
from tests.faults.server_under_load import ServerUnderLoad, cores, pinned_to, server_under_load
from tests.faults.streamed_call import StreamedCall

RECOVERIES = 5
FACTORS = (0.5, 0.8, 1, 1.2, 1.5, 2, 3, 5)
SETTLING_SECONDS = 4.0  # two answers' length, after which the places are as full as they stay
PROBE_SECONDS = 0.05


@dataclass(frozen=True)
class Point:
    """One load. Times are in seconds."""

    factor: float
    seconds: float  # of them counted
    calls: list[StreamedCall]
    good: int
    refusals_in_server: list[float]
    health_answers: list[float] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        return self.good / self.seconds

    @property
    def refused(self) -> list[StreamedCall]:
        return [call for call in self.calls if call.reason == "OVERLOADED"]

    @property
    def refusal_seconds(self) -> list[float]:
        """From sending a call until its refusal is there: the wait in the server's event loop is in it."""
        return [call.ended - call.sent for call in self.refused]

    @property
    def first_tokens(self) -> list[float]:
        return [call.first_token_seconds for call in self.calls if call.first_token_seconds is not None]

    def row(self, peak: float) -> str:
        first, inter = self.first_tokens, [call.inter_token_seconds for call in self.calls if call.succeeded]
        late = len(self.calls) - self.good - len(self.refused)
        figures = (
            *(f"{self.factor:g}x", f"{len(self.calls) / self.seconds:.0f}", f"{self.goodput:.1f}"),
            *(f"{self.goodput / peak:.0%}", _share(len(self.refused), self), _share(late, self)),
            *(_ms(first, 0.5), _ms(first, 0.99), _ms(inter, 0.99)),
            *(_ms(self.refusal_seconds, 0.5), _ms(self.refusal_seconds, 0.99), _ms(self.refusals_in_server, 0.99)),
            _ms(self.health_answers, 0.99),
            _ms([call.sent - call.due for call in self.calls], 0.99),
        )
        return "".join(f"{figure:>{len(head) + 2}}" for figure, head in zip(figures, HEADS, strict=True))

    def plot(self, peak: float) -> str:
        return f"{self.factor:>5g}x {'#' * round(50 * self.goodput / peak)} {self.goodput / peak:.0%}"


HEADS = (
    *("offered", "calls/s", "good/s", "of peak", "refused", "too late"),
    *("first token p50", "p99 ms", "inter-token p99 ms", "refusal p50", "p99 ms", "in its handler p99 ms"),
    *("health p99 ms", "sent late p99 ms"),
)
# The last column is the load's own: a machine that has no time for it measures itself and not the server.


async def sweep(
    server: ServerUnderLoad, users: Users, level: ServiceLevel, full: float, seconds: float, factors: Sequence[float]
) -> list[Point]:
    """Offer each of the factors of the capacity `full` for so many seconds after the settling."""
    return [await _point(server, users, level, factor, factor * full, seconds) for factor in factors]


async def _point(
    server: ServerUnderLoad, users: Users, level: ServiceLevel, factor: float, rate: float, seconds: float
) -> Point:
    before, settling = len(server.calls()), min(SETTLING_SECONDS, seconds)
    begin = time.monotonic() + settling
    async with _health_probe(server.health_address) as answers:
        calls = await open_loop(poisson(rate, settling + seconds, users.rng), users.ask)
    counted = [call for call in calls if call.due >= begin]
    lines = server.calls()[before:]
    refusals = [line["duration_ms"] / 1000 for line in lines if line.get("reason") == "OVERLOADED"]
    good = sum(map(level.is_met, counted))
    return Point(factor, seconds, counted, good, refusals, [took for at, took in answers if at >= begin])


@asynccontextmanager
async def _health_probe(address: str) -> AsyncIterator[list[tuple[float, float]]]:
    """When the server's event loop was asked for its health, and how long it took to say."""
    answers: list[tuple[float, float]] = []

    async def ask_for_ever(stub: Any) -> None:
        while True:
            asked = time.monotonic()
            await stub.Check(health_pb2.HealthCheckRequest())
            answers.append((asked, time.monotonic() - asked))
            await asyncio.sleep(PROBE_SECONDS)

    async with grpc.aio.insecure_channel(address) as channel:
        asking = asyncio.create_task(ask_for_ever(health_pb2_grpc.HealthStub(channel)))
        try:
            yield answers
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking


def _share(count: int, point: Point) -> str:
    return f"{count / max(len(point.calls), 1):.1%}"


def _ms(values: Sequence[float], share: float) -> str:
    return f"{1000 * percentile(values, share):.1f}" if values else "-"


@dataclass(frozen=True)
class Results:
    """All that one server was measured for."""

    capacity: float
    points: list[Point]
    recoveries: Sequence[Recovery] = ()
    retries: Amplification | None = None

    @property
    def peak(self) -> float:
        return max(point.goodput for point in self.points)

    def of_peak(self, factor: float) -> float:
        return next(point.goodput for point in self.points if point.factor == factor) / self.peak

    def print(self, name: str) -> None:
        print(f"\n{name}: capacity {self.capacity:.1f} answers/s, {self.points[0].seconds:g} s each")
        print("".join(f"{head:>{len(head) + 2}}" for head in HEADS))
        for point in self.points:
            print(point.row(self.peak))
        print("goodput of its peak, by what is offered")
        for point in self.points:
            print(point.plot(self.peak))
        for more in (*self.recoveries, *filter(None, (self.retries,))):
            print(more)


async def measure(seed: int, seconds: float, unlimited: bool) -> Results:
    """The whole run on one server; `unlimited` switches its admission off."""
    server_core, load_core = cores()
    with pinned_to(load_core):
        return await _measured(seed, seconds, unlimited, server_core)


async def _measured(seed: int, seconds: float, unlimited: bool, server_core: int | None) -> Results:
    model, level = ServedModel(), ServiceLevel()
    limits = ADMIT_EVERYTHING if unlimited else ("--max-wait-seconds", str(level.max_wait_seconds))
    async with server_under_load(*model.arguments(), *limits, core=server_core) as server:
        users = Users(connections(server.address), Random(seed))
        full = await capacity([users], model.places, seconds)
        points = await sweep(server, users, level, full, seconds, FACTORS)
        if unlimited:
            return Results(full, points)
        rng, grain = Random(seed), model.step_ms / 1000
        recoveries = [await load_step(users, full, seconds / 2, rng, grain) for _ in range(RECOVERIES)]
        return Results(full, points, recoveries, await amplification(server, 3 * full, seconds / 2, Random(seed)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each load, beside its settling")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unlimited", action="store_true", help="once more with the admission switched off")
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    given = parser.parse_args()
    results = uvloop.run(measure(given.seed, given.seconds, unlimited=False))
    results.print("With admission")
    if given.unlimited:
        uvloop.run(measure(given.seed, given.seconds, unlimited=True)).print("Admission switched off")
    if given.record:
        _record(results, given.seed)


def _record(results: Results, seed: int) -> None:
    for promise, factor, least in (("goodput_2x", 2, 0.9), ("goodput_5x", 5, 0.8)):
        point, share = next(each for each in results.points if each.factor == factor), results.of_peak(factor)
        text = f"{share:.0%}, {point.goodput:.1f} good answers/s"
        record(promise, n=len(point.calls), result=text, passed=share >= least, seed=seed)
    twice = next(point for point in results.points if point.factor == 2)
    p99, inside = (1000 * percentile(times, 0.99) for times in (twice.refusal_seconds, twice.refusals_in_server))
    text = f"p99 {p99:.1f} ms, of which {inside:.1f} ms are in its handler"
    record("refusal_time", n=len(twice.refused), result=text, passed=p99 <= 10, seed=seed)
    took = [recovery.seconds for recovery in results.recoveries]
    text = f"{max(took):.0f} s at most, median {percentile(took, 0.5):.0f} s"
    record("overload_recovery", n=len(took), result=text, passed=max(took) <= 10, seed=seed)


if __name__ == "__main__":
    main()
