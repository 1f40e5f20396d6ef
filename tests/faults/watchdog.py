"""Drills of the watchdog's promises: an engine in a process of its own dies or hangs under 64 streams.

python -m tests.faults.watchdog --deaths 50 --hangs 50 [--record]

A death is SIGKILL, a hang SIGSTOP; with the default settings a hang takes a minute, so ten of them run side by side.
For false alarms see `saturated`.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from penstock_service.settings import Settings
from tests.conftest import Running, opened, simulated_settings
from tests.faults.child_engine import ChildEngines
from tests.faults.promises import record
from tests.rpc.error_details import failure_of

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
STREAMS = 64
HANGS_AT_ONCE = 10
DEATHS_STEP_MS, HANGS_STEP_MS = 20, 200  # at the longer one the streams of ten services leave the machine its time
LONG = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4000, "ignore_eos": True})


@dataclass
class Drill:
    """What one fault led to, in seconds after it."""

    unready: float
    last_stream: float
    wrong: int  # streams that ended in another way than UNAVAILABLE / ENGINE_DEAD, or without their usage


async def drill(running: Running, engines: ChildEngines, fault: signal.Signals, health: Any) -> Drill:
    """Do this to the engine's process under so many streams, and wait for the next engine."""
    streams = [running.generation.StreamGenerate(LONG) for _ in range(STREAMS)]
    for stream in streams:
        await stream.read()
    begun = time.monotonic()
    os.kill(engines.loaded[-1].process.pid, fault)
    ends = asyncio.gather(*(_ended(stream) for stream in streams))
    await _heard(health, NOT_SERVING)
    unready = time.monotonic() - begun
    outcomes = await ends
    await _heard(health, SERVING)
    return Drill(unready, max(at for at, _ in outcomes) - begun, [well for _, well in outcomes].count(False))


async def _ended(stream: Any) -> tuple[float, bool]:
    """When a stream ended, and whether it did so as promised."""
    tokens = 0
    with contextlib.suppress(grpc.aio.AioRpcError):
        while (chunk := await stream.read()) is not grpc.aio.EOF:
            tokens = chunk.usage.completion_tokens
    ended, failure = time.monotonic(), await failure_of(stream)
    return ended, (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD") and tokens > 0


async def _heard(health: Any, status: int) -> None:
    while (await health.read()).status != status:
        pass


async def drills(fault: signal.Signals, count: int, settings: Settings) -> list[Drill]:
    """So many, one after the other, on one service."""
    engines = ChildEngines()
    async with opened(settings, engines) as running:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{running.service.health_port}") as channel:
            health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            await _heard(health, SERVING)
            return [await drill(running, engines, fault, health) for _ in range(count)]


def settings_for(step_ms: int, restarts: int, **changes: Any) -> Settings:
    timing = {"step_time_ms": step_ms}
    return simulated_settings(simulated=timing, engine_restarts=restarts, max_held_bytes=1 << 20, **changes)


async def deaths(count: int) -> list[Drill]:
    return await drills(signal.SIGKILL, count, settings_for(DEATHS_STEP_MS, min(count, 100)))


async def hangs(count: int, **changes: Any) -> list[Drill]:
    settings = settings_for(HANGS_STEP_MS, 1, **changes)
    done: list[Drill] = []
    while len(done) < count:
        at_once = min(HANGS_AT_ONCE, count - len(done))
        made = await asyncio.gather(*(drills(signal.SIGSTOP, 1, settings) for _ in range(at_once)))
        done += [each for one in made for each in one]
    return done


def _told(promise: str, done: Sequence[Drill], most_unready: float, most_last: float, recorded: bool) -> None:
    unready, last = max(each.unready for each in done), max(each.last_stream for each in done)
    wrong = sum(each.wrong for each in done)
    result = f"unready after {unready:.2f} s at most, the last stream told after {last:.2f} s"
    failed = sum(each.unready > most_unready or each.last_stream > most_last or each.wrong > 0 for each in done)
    print(f"{promise}: {len(done)} drills under {STREAMS} streams: {result}; {wrong} streams ended wrongly")
    if recorded:
        record(promise, n=len(done), failures=failed, result=result, passed=not failed)


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill and stop engines.")
    parser.add_argument("--deaths", type=int, default=50)
    parser.add_argument("--hangs", type=int, default=50)
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if given.deaths:
        _told("engine_death", asyncio.run(deaths(given.deaths)), 1, 1, given.record)
    if given.hangs:
        _told("engine_hang", asyncio.run(hangs(given.hangs)), 10, 60, given.record)


if __name__ == "__main__":
    main()
