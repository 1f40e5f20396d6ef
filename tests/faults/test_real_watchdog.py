"""The real vLLM that stalls, hangs and dies; signals that reach all processes of the service at once."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.faults.test_watchdog import ENGINE_DEAD, ENGINE_STALLED, NOT_SERVING, SERVING, Heard, cut, outcome, rest_of
from tests.rpc.error_details import failure_of
from tests.rpc.test_frontends import FREE_PORTS, Service, gone, until

pytestmark = [
    pytest.mark.real_vllm,
    pytest.mark.slow,
    pytest.mark.timeout(700),
    pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed here: `make test` installs it"),
]

SHORT = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 8, "ignore_eos": True})
# As long as the context allows, and with much to do a token: it must not end before it is meant to.
LONG = pb.GenerateRequest(
    prompt="Hello", num_sequences=8, response={"logprobs": 20}, stopping={"max_tokens": 900, "ignore_eos": True}
)
LONG_TOKENS = 8 * 900
# Scaled down from 9 s and 55 s; nobody reads the streams while the engine stands still.
SCALED = ("--engine-stall-seconds", "2", "--engine-hang-seconds", "15", "--max-stall-seconds", "600")
SCALED += ("--drain-seconds", "3600")


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Service]:
    """The program in a process group of its own, as in a terminal."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock_service", *FREE_PORTS, *arguments),
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    service = Service(process)
    try:
        yield service
    finally:
        if process.returncode is None:
            process.kill()
        await service.ended()


def stop(processes: list[psutil.Process]) -> None:
    for process in processes:
        process.suspend()


def engine_of(service: Service) -> list[psutil.Process]:
    """The engine's process and its worker's."""
    (engine,) = service.engine()
    return [engine, *engine.children(recursive=True)]


def is_worker(process: psutil.Process) -> bool:
    """Whether vLLM has spawned it, and it has not given itself a name yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return "spawn_main" in " ".join(process.cmdline())
    return False


async def long_streams(stub: Any, count: int) -> list[Any]:
    """Streams whose first chunk is there."""
    streams = [stub.StreamGenerate(LONG) for _ in range(count)]
    for stream in streams:
        await stream.read()
    return streams


async def test_vllm_stalls_goes_on_hangs_starts_again_and_dies_in_a_drain() -> None:
    async with asyncio.timeout(680), started(*SCALED, "--engine-restarts", "1") as service:
        await service.line("loaded")
        ports = await service.line("listening")
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc_port']}") as channel,
            grpc.aio.insecure_channel(f"127.0.0.1:{ports['health_port']}") as health_channel,
        ):
            stub = GenerationStub(channel)
            health = Heard(health_pb2_grpc.HealthStub(health_channel).Watch(health_pb2.HealthCheckRequest()))
            assert await health.next() == SERVING

            await stalls_and_goes_on(service, stub, health)
            await hangs_and_starts_again(service, stub, health)
            await drains_though_all_processes_got_the_signal(service, stub, health)


async def stalls_and_goes_on(service: Service, stub: Any, health: Heard) -> None:
    streams = await long_streams(stub, 2)
    engine = engine_of(service)
    stop(engine)
    assert await health.next() == NOT_SERVING
    refused = await failure_of(stub.Generate(SHORT))
    for process in engine:
        process.resume()

    assert await health.next() == SERVING
    assert outcome(refused) == ENGINE_STALLED
    rests = await asyncio.gather(*(rest_of(stream) for stream in streams))
    assert [rest[-1].usage.completion_tokens for rest in rests] == [LONG_TOKENS] * 2


async def hangs_and_starts_again(service: Service, stub: Any, health: Heard) -> None:
    streams = await long_streams(stub, 3)
    engine = engine_of(service)
    stop(engine)

    assert await health.next() == NOT_SERVING
    for rest, failure in await asyncio.gather(*(cut(stream) for stream in streams)):
        assert outcome(failure) == ENGINE_DEAD
        assert 0 < rest[-1].usage.completion_tokens < LONG_TOKENS
    await until(lambda: gone(engine))
    assert await health.next() == SERVING
    assert (await stub.Generate(SHORT)).usage.completion_tokens == 8
    assert service.seen("the engine hangs")[0]["stacks"]


async def drains_though_all_processes_got_the_signal(service: Service, stub: Any, health: Heard) -> None:
    processes = service.processes()
    streams = [stub.StreamGenerate(SHORT) for _ in range(8)]
    (lasting,) = await long_streams(stub, 1)

    os.killpg(service.process.pid, signal.SIGTERM)

    assert await health.next() == NOT_SERVING
    assert [(await rest_of(stream))[-1].usage.completion_tokens for stream in streams] == [8] * 8
    ended = time.monotonic()
    service.engine()[0].terminate()  # its own: vLLM aborts what runs, which looks like an end
    _, failure = await cut(lasting)
    assert time.monotonic() - ended < 5  # the promise is 1 s; docs/reliability.md has the figure
    assert outcome(failure) == ENGINE_DEAD
    assert await service.ended() == 0
    await until(lambda: gone(processes))


async def test_an_engine_that_dies_while_it_starts_ends_the_service_which_says_why() -> None:
    async with asyncio.timeout(380), started() as service:
        await until(lambda: bool(service.engine()))
        service.engine()[0].kill()

        async with asyncio.timeout(60):  # the promise is 15 s
            assert await service.ended() == 1

        assert service.lines[-1]["error"] == "the engine did not start"
        assert "Engine core initialization failed" in service.lines[-1]["exception"]


@pytest.mark.parametrize("arguments", [(), ("--frontends", "2")], ids=["one process", "front ends"])
async def test_a_killed_service_leaves_no_process_behind(arguments: tuple[str, ...]) -> None:
    async with asyncio.timeout(380), started(*arguments) as service:
        await until(lambda: any(is_worker(child) for each in service.engine() for child in each.children()))
        processes = service.processes()

        service.process.kill()

        async with asyncio.timeout(15):  # the promise is 5 s
            await until(lambda: gone(processes))
        assert len(processes) >= 3
