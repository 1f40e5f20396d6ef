"""Stopping loses nothing that fits the budget, and tells the rest."""

import asyncio

import grpc

from penstock.v1 import generation_pb2 as pb
from penstock_service.lifecycle import Stage
from tests.conftest import OpenService, Running, eventually
from tests.rpc.error_details import failure_of

SHORT = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 100, "ignore_eos": True})


async def test_running_calls_finish_and_new_ones_are_refused(simulated: Running) -> None:
    unary = asyncio.ensure_future(simulated.generation.Generate(SHORT))
    stream = simulated.generation.StreamGenerate(SHORT)
    chunks = aiter(stream)
    await anext(chunks)

    draining = asyncio.create_task(simulated.service.drain(30))
    await eventually(lambda: simulated.service.lifecycle.stage.name == "DRAINING", "draining")
    refused = await failure_of(simulated.generation.Generate(SHORT))
    *_, last = [chunk async for chunk in chunks]

    await draining
    assert (refused.code, refused.reason, refused.retry_after) == (grpc.StatusCode.UNAVAILABLE, "DRAINING", 0)
    assert (await unary).usage.completion_tokens == 100
    assert last.usage.completion_tokens == 100


async def test_what_exceeds_the_budget_ends_with_unavailable_and_never_with_ok(stuck: Running) -> None:
    calls = [stuck.generation.Generate(SHORT), stuck.generation.StreamGenerate(SHORT)]
    await eventually(lambda: stuck.engine.running == 2, "both run")

    await stuck.service.drain(0.05)

    for call in calls:
        failure = await failure_of(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert stuck.engine.running == 0


async def test_hurrying_ends_what_still_runs(stuck: Running) -> None:
    call = stuck.generation.StreamGenerate(SHORT)
    await eventually(lambda: stuck.engine.running == 1, "it runs")
    draining = asyncio.create_task(stuck.service.drain(3600))

    stuck.service.lifecycle.end_calls()

    await draining
    assert (await failure_of(call)).reason == "DRAINING"


async def test_an_idle_service_does_not_wait(open_service: OpenService) -> None:
    running = await open_service()

    async with asyncio.timeout(5):
        await running.service.drain(3600)

    assert running.service.lifecycle.stage is Stage.DRAINING
