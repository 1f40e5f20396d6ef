"""A call that its caller gives up frees its engine request, wherever it is."""

import asyncio
import sys

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from tests.conftest import OpenService, Running, eventually

LONG = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4000, "ignore_eos": True})


def is_idle(running: Running) -> bool:
    return running.engine.running == 0 and running.service.lifecycle.running == 0


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_a_cancelled_call_leaves_the_engine_at_once(stuck: Running, method: str) -> None:
    call = getattr(stuck.generation, method)(LONG)
    await eventually(lambda: stuck.engine.running == 1, "the call runs")

    call.cancel()

    await eventually(lambda: is_idle(stuck), "the engine is idle")
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_a_stream_cancelled_midway_leaves_the_engine(simulated: Running) -> None:
    call = simulated.generation.StreamGenerate(LONG)
    for _ in range(5):
        await call.read()

    call.cancel()

    await eventually(lambda: is_idle(simulated), "the engine is idle")
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_a_call_cancelled_while_it_waits_for_a_place_leaves_the_queue(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 60_000, "max_concurrent_sequences": 1})
    first = running.generation.StreamGenerate(LONG)
    second = running.generation.StreamGenerate(LONG)
    await eventually(lambda: running.engine.running == 2, "one runs and one waits")

    second.cancel()

    await eventually(lambda: running.engine.running == 1, "the waiting one is gone")
    assert not first.done()
    first.cancel()


CALLER = """
import sys, grpc
from penstock.v1 import generation_pb2 as pb, generation_pb2_grpc as rpc
stub = rpc.GenerationStub(grpc.insecure_channel(sys.argv[1]))
calls = [stub.StreamGenerate(pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4000})) for _ in range(3)]
next(calls[0])
"""


async def test_a_caller_that_is_killed_frees_all_its_calls(stuck: Running) -> None:
    caller = await asyncio.create_subprocess_exec(sys.executable, "-c", CALLER, stuck.address)
    await eventually(lambda: stuck.engine.running == 3, "the calls run")

    caller.kill()

    await eventually(lambda: is_idle(stuck), "the engine is idle")
    await caller.wait()


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_the_deadline_ends_the_call_and_frees_the_engine(stuck: Running, method: str) -> None:
    call = getattr(stuck.generation, method)(LONG, timeout=0.2)

    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: is_idle(stuck), "the engine is idle")


async def test_the_calls_beside_a_cancelled_one_go_on(simulated: Running) -> None:
    kept = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 100, "ignore_eos": True})
    survivors = [asyncio.ensure_future(simulated.generation.Generate(kept)) for _ in range(8)]
    victims = [simulated.generation.StreamGenerate(LONG) for _ in range(8)]
    for victim in victims:
        await victim.read()
        victim.cancel()

    replies = await asyncio.gather(*survivors)

    assert [reply.usage.completion_tokens for reply in replies] == [100] * 8
    await eventually(lambda: is_idle(simulated), "the engine is idle")
