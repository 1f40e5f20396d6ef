"""Stopping loses nothing that fits the budget, and tells the rest."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from penstock_service.lifecycle import Stage
from tests.conftest import OpenService, Running, eventually, opened, simulated_settings
from tests.faults.faulty_engine import HeldLoading
from tests.rpc.error_details import failure_of
from tests.rpc.server_process import SIMULATED, serving

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SHORT = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 100, "ignore_eos": True})


@contextlib.asynccontextmanager
async def health_of(running: Running) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.service.health_port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)


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


async def test_in_the_lame_duck_time_calls_are_admitted_though_health_says_otherwise(open_service: OpenService) -> None:
    running = await open_service(lame_duck_seconds=3600)
    async with health_of(running) as health:
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING

        draining = asyncio.create_task(running.service.drain(3600))
        assert (await watch.read()).status == NOT_SERVING
        admitted = await running.generation.Generate(SHORT)
        running.service.hurry()

        await draining
        assert admitted.usage.completion_tokens == 100
        assert (await failure_of(running.generation.Generate(SHORT))).reason == "DRAINING"


async def test_the_lame_duck_time_ends_by_itself(open_service: OpenService) -> None:
    running = await open_service(lame_duck_seconds=0.05)

    async with asyncio.timeout(10):
        await running.service.drain(3600)

    assert running.service.lifecycle.stage is Stage.DRAINING


@pytest.mark.parametrize("state", ["loading", "dead"])
async def test_a_service_that_serves_nobody_has_no_lame_duck_time(open_service: OpenService, state: str) -> None:
    loading = HeldLoading()
    running = await open_service(load=loading, ready=False, lame_duck_seconds=3600)
    if state == "dead":
        loading.release.set()
        (await running.service.loading).kill()

    async with asyncio.timeout(10):
        await running.service.drain(3600)


async def test_a_dying_engine_ends_the_lame_duck_time(open_service: OpenService) -> None:
    running = await open_service(lame_duck_seconds=3600, engine_restarts=3)
    draining = asyncio.create_task(running.service.drain(3600))
    await eventually(lambda: running.service.lifecycle.stage is Stage.LAME_DUCK, "lame duck")

    running.engine.kill()

    async with asyncio.timeout(10):
        await draining
    assert (await failure_of(running.generation.Generate(SHORT))).reason == "ENGINE_DEAD"


async def test_whoever_may_can_ask_for_a_stop(simulated: Running) -> None:
    stopping = asyncio.create_task(simulated.service.stop_asked())

    simulated.service.lifecycle.begin_drain()
    simulated.service.begin_drain()

    async with asyncio.timeout(10):
        await stopping


async def test_streams_past_the_budget_end_with_what_they_have(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 5})
    endless = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4000, "ignore_eos": True})
    stream = running.generation.StreamGenerate(endless)
    chunks = [await stream.read()]

    draining = asyncio.create_task(running.service.drain(0.05))
    with contextlib.suppress(grpc.aio.AioRpcError):
        while (chunk := await stream.read()) is not grpc.aio.EOF:
            chunks.append(chunk)

    await draining
    failure = await failure_of(stream)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert 0 < chunks[-1].usage.completion_tokens < 4000


async def test_connections_that_only_exist_do_not_prolong_the_end() -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with opened(simulated_settings(drain_seconds=3600)) as running:
            health = await stack.enter_async_context(health_of(running))
            watch = health.Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            session = running.generation.Session()
            await running.generation.Generate(SHORT)
            begun = time.monotonic()

        assert time.monotonic() - begun < 10  # and not the drain's hour; it takes half a second
        session.cancel()


async def test_callers_have_time_to_go_elsewhere_before_the_port_is_closed(simulated: Running) -> None:
    await simulated.generation.Generate(SHORT)
    draining = asyncio.create_task(simulated.service.drain(30))

    for _ in range(5):
        assert (await failure_of(simulated.generation.Generate(SHORT))).reason == "DRAINING"
        assert not draining.done()  # or the next one would end with CANCELLED

    async with asyncio.timeout(10):
        await draining


async def test_a_session_ends_when_its_caller_has_read_everything(simulated: Running) -> None:
    session = simulated.generation.Session()
    await session.read()
    draining = asyncio.create_task(simulated.service.drain(30))
    assert (await session.read()).draining
    assert not draining.done()

    await session.done_writing()

    assert await session.read() is grpc.aio.EOF
    assert await session.code() is grpc.StatusCode.OK
    await draining


async def test_a_session_whose_caller_does_nothing_is_waited_for_a_moment_only(simulated: Running) -> None:
    session = simulated.generation.Session()
    await session.read()

    async with asyncio.timeout(10):
        await simulated.service.drain(3600)

    assert (await session.read()).draining
    assert await session.read() is grpc.aio.EOF
    assert await session.code() is grpc.StatusCode.OK


async def test_a_stop_that_is_asked_for_again_when_all_has_ended_is_no_error(simulated: Running) -> None:
    await simulated.service.drain(30)

    simulated.service.lifecycle.begin_drain(7)


async def test_a_process_ends_in_the_promised_order() -> None:
    arguments = ("--lame-duck-seconds", "0.5", "--drain-seconds", "30", "--simulated.step-time-ms", "10")
    async with serving(*SIMULATED, *arguments) as server:
        ports = await server.line("listening")
        await server.line("loaded")
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc_port']}") as channel,
            grpc.aio.insecure_channel(f"127.0.0.1:{ports['health_port']}") as health,
        ):
            watch = health_pb2_grpc.HealthStub(health).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING
            server.process.send_signal(signal.SIGTERM)
            assert (await watch.read()).status == NOT_SERVING
            late = GenerationStub(channel).StreamGenerate(SHORT)  # a second long: well into the drain
            await server.line("draining")
            refused = await failure_of(GenerationStub(channel).Generate(SHORT))
            *_, last = [chunk async for chunk in late]

        await server.line("stopped")
        assert await server.process.wait() == 0
        assert refused.reason == "DRAINING"
        assert last.usage.completion_tokens == 100
