"""A service whose engine is full, and what is sent to it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import grpc

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.base import Demand, Job, Receiver
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.settings import Settings
from tests.conftest import OpenService, Running, eventually
from tests.rpc.generation_status import in_phase

PUSHBACK = "grpc-retry-pushback-ms"
QUEUED = pb.GENERATION_PHASE_QUEUED
NEVER = {"step_time_ms": 60_000, "max_concurrent_sequences": 1}  # two more wait in the engine, and the rest before it


def request(tokens: int = 4000, **fields: Any) -> pb.GenerateRequest:
    stopping = {"max_tokens": tokens, "ignore_eos": True}
    return pb.GenerateRequest(**{"prompt": "Hello", "stopping": stopping, **fields})


def batch(*prompts: str, tokens: int = 4000, **fields: Any) -> pb.GenerateRequest:
    sent = request(tokens, **fields)
    sent.batch.inputs.extend(pb.BatchInput(prompt=prompt) for prompt in prompts)
    return sent


class CountingEngine(SimulatedEngine):
    """Counts what is asked of it."""

    submitted: list[str]

    @classmethod
    async def load(cls, settings: Settings) -> Self:
        engine = await super().load(settings)
        engine.submitted = []
        return engine

    async def submit(self, job: Job, receiver: Receiver) -> None:
        self.submitted.append(job.request.request_id)
        await super().submit(job, receiver)

    async def demand(self, request: pb.GenerateRequest) -> Demand:
        self.submitted.append("demand")
        return await super().demand(request)


COUNTING: Callable[[Settings], Awaitable[CountingEngine]] = CountingEngine.load


async def full(
    open_service: OpenService, calls: int = 5, room: int = 0, **settings: Any
) -> tuple[Running, list[grpc.aio.Call]]:
    """A service with calls "0", "1" ... that never end: three are in its engine, and the others wait."""
    running = await open_service(load=COUNTING, simulated=NEVER, max_admitted_sequences=calls + room, **settings)
    return running, await one_after_another(running, calls)


async def one_after_another(running: Running, calls: int, **fields: Any) -> list[grpc.aio.Call]:
    """Begin calls "0", "1" ... in this order; the first has the one place of the engine."""
    opened = []
    for number in range(calls):
        opened.append(running.generation.StreamGenerate(request(request_id=str(number), **fields)))
        if number:
            await in_phase(running, QUEUED, request_id=str(number))
        else:
            await eventually(lambda: running.engine.running == 1, "it runs")
    return opened


async def first_to_end(calls: list[grpc.aio.Call]) -> grpc.aio.Call:
    await asyncio.wait([asyncio.ensure_future(call.code()) for call in calls], return_when="FIRST_COMPLETED")
    return next(call for call in calls if call.done())


async def pushback_of(call: grpc.aio.Call) -> str | None:
    return dict(await call.trailing_metadata()).get(PUSHBACK)
