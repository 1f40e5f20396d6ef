"""How well waits are predicted: what Estimate tells just before a call, against what the call then waited.

    python -m tests.benchmarks.predicted_waits --calls 600 --load 2 --seed 1

The service runs in this process over the simulated engine, whose answers have 32 to 96 tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from random import Random
from typing import NamedTuple

import grpc

from penstock.v1 import generation_pb2 as pb
from tests.conftest import Running, opened, simulated_settings
from tests.faults.open_loop import open_loop, poisson
from tests.faults.percentile import percentile

PLACES = 16
STEP_MS = 20
TOKENS = (32, 96)
# A step of the engine and what this machine adds are no error of the prediction.
LEAST_WAIT_MS = 100


class Wait(NamedTuple):
    """One call's, in milliseconds."""

    predicted: float
    came: float


async def predicted_waits(running: Running, calls: int, load: float, seed: int) -> list[Wait]:
    """The waits of those of `calls` that waited, offered at `load` times what the engine can take."""
    rng = Random(seed)
    rate = load * PLACES / (sum(TOKENS) / 2 * STEP_MS / 1000)
    waits: list[Wait] = []

    async def call(_due: float) -> None:
        sent = pb.GenerateRequest(prompt="Hello " * rng.randint(1, 200), stopping={"ignore_eos": True})
        sent.stopping.max_tokens = rng.randint(*TOKENS)
        told = await running.generation.Estimate(pb.EstimateRequest(request=sent))
        try:
            reply = await running.generation.Generate(sent)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return
        if told.HasField("wait_ms") and max(told.wait_ms, reply.timings.queue_time_ms) >= LEAST_WAIT_MS:
            waits.append(Wait(max(told.wait_ms, 1), max(reply.timings.queue_time_ms, 1)))

    await open_loop(poisson(rate, calls / rate, rng), call)
    return waits


def within(waits: list[Wait], factor: float) -> float:
    """The share of those whose prediction was off by no more than the factor."""
    return sum(1 / factor <= wait.predicted / wait.came <= factor for wait in waits) / len(waits)


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument("--load", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    settings = simulated_settings(simulated={"step_time_ms": STEP_MS, "max_concurrent_sequences": PLACES})
    async with opened(settings) as running:
        waits = await predicted_waits(running, given.calls, given.load, given.seed)
    ratios = [wait.predicted / wait.came for wait in waits]
    print(
        f"{len(waits)} of {given.calls} calls waited {LEAST_WAIT_MS} ms or more at {given.load:g} times the capacity; "
        f"predicted / came: p5 {percentile(ratios, 0.05):.2f}, p50 {percentile(ratios, 0.5):.2f}, "
        f"p95 {percentile(ratios, 0.95):.2f}; within a factor of 2: {within(waits, 2):.1%} "
        f"({time.monotonic() - began:.0f} s)"
    )


if __name__ == "__main__":
    asyncio.run(_main())
