"""How soon the engine is free of a call that nobody waits for any more: cancelled, past its deadline, or killed.

python -m tests.faults.cancel_latency --calls 10000

Calls are given up at every point of their way while others run: the time is from the caller's cancel (its deadline, the
kill of its process) until the engine has let go of the job and the call has left its line in the log, which it does
when it holds nothing any more. That includes the way from the caller to the server.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc

from penstock.v1 import generation_pb2 as pb
from penstock_service.settings import Settings
from tests.conftest import Running, eventually, opened, simulated_settings
from tests.faults.call_ends import CallEnds, call_ends
from tests.faults.percentile import percentile
from tests.faults.promises import record
from tests.faults.watched_engine import KEPT_IN_PREPARATION, WatchedEngine

PLACES = 64
STEP_SECONDS = 0.020
AT_ONCE = 16
LIMIT_SECONDS = 0.250
KILLED_AT_ONCE = 64

# The points of a call's way, by how its request_id begins. A queued one finds all places taken.
RUNNING_POINTS = ("sent", KEPT_IN_PREPARATION, "prefill", "first", "midway", "last", "ended")
SHORT, LONG = 12, 4000
LENGTHS = {"first": LONG, "midway": LONG, "last": SHORT, "ended": SHORT}


@dataclass
class Latencies:
    """Seconds until everything was free, by how a call was given up and where."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)  # calls that never ended, or ended twice

    def every(self, prefix: str = "") -> list[float]:
        return [each for name, times in self.seconds.items() if name.startswith(prefix) for each in times]

    def print(self) -> None:
        print(f"{'given up':24}{'calls':>8}{'p50 ms':>9}{'p99 ms':>9}{'longest':>9}")
        for name, times in sorted(self.seconds.items()):
            figures = "".join(f"{1000 * percentile(times, share):>9.1f}" for share in (0.5, 0.99, 1))
            print(f"{name:24}{len(times):>8}{figures}")
        print(f"{len(self.wrong)} did not end exactly once {self.wrong[:5]}")


class GivenUp:
    """Calls that are begun, brought to a point, and given up."""

    def __init__(self, running: Running, ends: CallEnds, rng: Random) -> None:
        self.latencies = Latencies()
        self._running = running
        self._engine: Any = running.engine
        self._ends = ends
        self._rng = rng
        self._moments: dict[str, tuple[str, float]] = {}  # given up how and when, by request_id
        self._places = asyncio.Semaphore(AT_ONCE)

    async def cancel(self, point: str, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._cancel(point, f"{point}-{number}"))

    async def expire(self, point: str, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._expire(f"{point}-late-{number}", f"deadline {point}"))

    async def kill(self, point: str, calls: int) -> None:
        """Kill a process in the midst of its calls."""
        name = f"{point}-killed-{self._rng.randrange(1 << 32)}"
        command = (sys.executable, "-m", "tests.faults.doomed_caller", self._running.address, name, str(calls))
        lifecycle = self._running.service.lifecycle
        before = lifecycle.running
        caller = await asyncio.create_subprocess_exec(*command)
        await eventually(lambda: lifecycle.running == before + calls, "its calls are here")  # some run, others wait
        await asyncio.sleep(self._rng.uniform(0, 4 * STEP_SECONDS))
        now = time.monotonic()
        caller.kill()
        self._moments |= {f"{name}-{number}": (f"kill {point}", now) for number in range(calls)}
        await caller.wait()

    async def settle(self, remaining: int) -> None:
        """Wait until nothing but the calls beside is left, then judge."""
        engine, lifecycle = self._engine, self._running.service.lifecycle
        await eventually(lambda: engine.running == lifecycle.running == remaining, "the engine is free")
        for name, (how, moment) in self._moments.items():
            self._judge(name, how, moment)
        self._moments.clear()

    def _judge(self, name: str, how: str, moment: float) -> None:
        ended, left = self._ends.moments.get(name, []), self._engine.left.get(name)
        if len(ended) > 1 or (left is not None and not ended):
            self.latencies.wrong.append(name)
        elif ended:  # else the server never heard of it
            self.latencies.seconds[how].append(max(max(ended[0], left or 0.0) - moment, 0.0))

    async def _cancel(self, point: str, name: str) -> None:
        async with self._places:
            call = self._begin(name, LENGTHS.get(point, LONG))
            await self._reach(point, name, call)
            self._moments[name] = (f"cancel {point}", time.monotonic())
            call.cancel()
            await call.code()

    async def _expire(self, name: str, how: str) -> None:
        async with self._places:
            seconds = self._rng.uniform(0.05, 0.5)
            ends = time.monotonic() + seconds
            call = self._begin(name, LONG, seconds)
            code = await _read_to_end(call)
            self._moments[name] = (how, ends)
            if code is not grpc.StatusCode.DEADLINE_EXCEEDED:
                self.latencies.wrong.append(f"{name}: {code.name}")

    def _begin(self, name: str, tokens: int, timeout: float | None = None) -> Any:
        stopping = {"max_tokens": tokens, "ignore_eos": True}
        request = pb.GenerateRequest(prompt=f"Hello {name}", stopping=stopping, request_id=name)
        return self._running.generation.StreamGenerate(request, timeout=timeout)

    async def _reach(self, point: str, name: str, call: Any) -> None:
        if point == "sent":
            await asyncio.sleep(self._rng.uniform(0, 0.02))
        elif point == "prefill":
            await self._engine.came[name].wait()
            await asyncio.sleep(self._rng.uniform(0, 2 * STEP_SECONDS))
        elif point == KEPT_IN_PREPARATION:
            await self._engine.came[name].wait()
        elif point == "queued":  # where it never comes to the engine
            await asyncio.sleep(self._rng.uniform(STEP_SECONDS, 3 * STEP_SECONDS))
        else:
            await _read_chunks(call, {"first": 1, "midway": self._rng.randint(2, 6), "last": SHORT - 1}.get(point))


async def _read_chunks(call: Any, count: int | None) -> None:
    """So many chunks, or all of them."""
    while (count is None or count > 0) and await call.read() is not grpc.aio.EOF:
        count = count and count - 1


async def _read_to_end(call: Any) -> grpc.StatusCode:
    with suppress(grpc.aio.AioRpcError):
        await _read_chunks(call, None)
    return await call.code()


async def give_up(running: Running, ends: CallEnds, calls: int, kills: int, seed: int) -> Latencies:
    """Spread so many calls over all points and ways, and kill so many processes in the midst of theirs."""
    given, each = GivenUp(running, ends, Random(seed)), max(calls // 12, 1)
    async with _others(running, PLACES - AT_ONCE) as others:
        for point in RUNNING_POINTS:
            await given.cancel(point, each)
        for point in (KEPT_IN_PREPARATION, "midway"):
            await given.expire(point, each)
        await given.settle(others)
        for number in range(kills):
            await given.kill((KEPT_IN_PREPARATION, "midway")[number % 2], KILLED_AT_ONCE)
            await given.settle(others)
    async with _others(running, PLACES) as others:
        await given.cancel("queued", 2 * each)
        await given.expire("queued", each)
        await given.settle(others)
    return given.latencies


@asynccontextmanager
async def _others(running: Running, count: int) -> AsyncIterator[int]:
    """Streams that run beside."""
    request = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 1 << 20, "ignore_eos": True})
    calls = [running.generation.StreamGenerate(request) for _ in range(count)]
    readers = [asyncio.ensure_future(_read_to_end(call)) for call in calls]
    await eventually(lambda: running.engine.running == count, "the others run")
    try:
        yield count
    finally:
        for call in calls:
            call.cancel()
        await asyncio.wait(readers)
        await eventually(lambda: running.engine.running == 0, "the others are gone")


async def load_watched(settings: Settings) -> WatchedEngine:
    engine = await WatchedEngine.load(settings)
    engine.watch()
    return engine


def watched_settings() -> Settings:
    """A busy engine that takes what comes: admission is not what is measured."""
    timing = {"step_time_ms": 1000 * STEP_SECONDS, "max_concurrent_sequences": PLACES}
    room = {"context_length": 1 << 21, "kv_cache_tokens": 1 << 40}
    admission = {"max_wait_seconds": 3600, "max_admitted_sequences": 4 * PLACES, "max_queued_tokens": 1 << 40}
    return simulated_settings(simulated={**timing, **room}, max_deadline_seconds=3600, **admission)


async def measured(calls: int, kills: int, seed: int) -> Latencies:
    with call_ends() as ends:
        async with opened(watched_settings(), load_watched) as running:
            return await give_up(running, ends, calls, kills, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the result into docs/reliability.md")
    given = parser.parse_args()
    latencies = asyncio.run(measured(given.calls, given.kills, given.seed))
    latencies.print()
    if given.record:
        for promise, how in (("cancel_frees_slot", "cancel"), ("deadline_frees_slot", "deadline")):
            _record(promise, latencies, how, given.seed)


def _record(promise: str, latencies: Latencies, how: str, seed: int) -> None:
    times = latencies.every(how)
    longest, p99 = max(times), percentile(times, 0.99)
    result = f"longest {1000 * longest:.0f} ms, p99 {1000 * p99:.0f} ms"
    failures = len(latencies.wrong) + sum(seconds > LIMIT_SECONDS for seconds in times)
    record(promise, n=len(times), result=result, passed=not failures, failures=failures, seed=seed)


if __name__ == "__main__":
    main()
