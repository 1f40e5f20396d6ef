"""The model, its users and the service level that overloads are measured with.

The simulated engine steps at a large model's pace, so that two cores can bear many times its capacity: what is measured
is what the service does when more comes than the engine can take, and not how fast this machine is.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.faults.streamed_call import StreamedCall, streamed_call

TOKENS = (32, 96)  # of an answer, all numbers between them alike
PROMPT = "Once upon a time there was a penstock. " * 6  # 59 tokens


@dataclass(frozen=True)
class ServedModel:
    """What the simulated engine takes for its work."""

    places: int = 64
    step_ms: float = 25
    prefill_tokens_per_second: float = 50_000

    def arguments(self) -> list[str]:
        names = ("max-concurrent-sequences", "step-time-ms", "prefill-tokens-per-second")
        values = (self.places, self.step_ms, self.prefill_tokens_per_second)
        words = ((f"--simulated.{name}", str(value)) for name, value in zip(names, values, strict=True))
        return [word for pair in words for word in pair]


@dataclass(frozen=True)
class ServiceLevel:
    """When an answer is good: MLPerf Inference's limits of an interactive Llama 2 70B.

    max_wait_seconds is what the operator sets for it. It bounds a prediction, which is a mean: at 0.2 s eight others
    are before one, and 99 of 100 such waits are below twice that. Two steps of the engine follow, the one that a place
    comes free in and the one that makes the token.
    """

    first_token_seconds: float = 0.450
    inter_token_seconds: float = 0.040
    max_wait_seconds: float = 0.200

    def is_met(self, call: StreamedCall) -> bool:
        first = call.first_token_seconds
        on_time = first is not None and first <= self.first_token_seconds
        return call.succeeded and on_time and call.inter_token_seconds <= self.inter_token_seconds


# Beside the service's admission: what a server without any does.
ADMIT_EVERYTHING = (
    *("--max-admitted-sequences", str(1 << 20), "--max-queued-tokens", str(1 << 40)),
    *("--max-wait-seconds", "86400", "--max-tenant-share", "1"),
)


class Users:
    """Who ask, over a few connections, for answers of different lengths."""

    def __init__(self, channels: Sequence[grpc.aio.Channel], rng: Random, metadata: Any = ()) -> None:
        self._stubs: list[Any] = [GenerationStub(channel) for channel in channels]
        self.rng = rng
        self._metadata = metadata

    async def ask(self, due: float) -> StreamedCall:
        stopping = {"max_tokens": self.rng.randint(*TOKENS), "ignore_eos": True}
        request = pb.GenerateRequest(prompt=PROMPT, stopping=stopping)
        return await streamed_call(self.rng.choice(self._stubs), request, due, self._metadata)

    def as_tenant(self, key: str) -> Users:
        other = Users((), Random(self.rng.random()), [("authorization", f"Bearer {key}")])
        other._stubs = self._stubs
        return other


async def capacity(tenants: Sequence[Users], places: int, seconds: float) -> float:
    """Answers a second while every place is taken all the time, by the tenants in turns."""
    begin = time.monotonic() + seconds / 4  # until the places' answers are at different points
    end = begin + seconds
    answered = 0

    async def asker(users: Users) -> None:
        nonlocal answered
        while time.monotonic() < end:
            call = await users.ask(time.monotonic())
            answered += call.succeeded and begin <= call.ended < end

    async with asyncio.TaskGroup() as group:
        for number in range(places + places // 16):  # a few more, so that no place waits for its next question
            group.create_task(asker(tenants[number % len(tenants)]))
    return answered / seconds


def connections(address: str, count: int = 4) -> list[grpc.aio.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    return [grpc.aio.insecure_channel(address, options=options) for _ in range(count)]


def loosened(level: ServiceLevel, times: float) -> ServiceLevel:
    """The same service on a machine that is that much slower, for tests."""
    return dataclasses.replace(
        level,
        first_token_seconds=times * level.first_token_seconds,
        inter_token_seconds=times * level.inter_token_seconds,
    )
