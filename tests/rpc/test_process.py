"""`penstock-serve` as a process: what it prints, where it listens, how it ends."""

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from penstock_service.failures import EngineFailed
from tests.conftest import OpenService
from tests.faults.faulty_engine import HeldLoading
from tests.rpc.error_details import failure_of
from tests.rpc.server_process import SIMULATED, serving


async def refused(*arguments: str, **environment: str) -> str:
    """What the program says when it does not start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "penstock_service", *arguments),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert "Traceback" not in err.decode()
    return err.decode().strip()


async def test_sigterm_lets_a_running_stream_finish_and_exits_with_zero() -> None:
    async with serving(*SIMULATED, "--simulated.step-time-ms", "5") as server:
        ports = await server.line("listening")
        await server.line("loaded")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc_port']}") as channel:
            request = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 60, "ignore_eos": True})
            chunks = aiter(GenerationStub(channel).StreamGenerate(request))
            await anext(chunks)
            server.process.send_signal(signal.SIGTERM)
            draining = await server.line("draining")
            *_, last = [chunk async for chunk in chunks]

        await server.line("stopped")
        assert draining["running"] == 1
        assert last.usage.completion_tokens == 60
        assert await server.process.wait() == 0


async def test_the_port_is_open_while_the_model_loads_and_callers_hear_of_it() -> None:
    async with serving(*SIMULATED, "--simulated.load-seconds", "0.5") as server:
        async with asyncio.timeout(10):  # a loaded machine; docs/performance.md has the figure
            ports = await server.line("listening")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc_port']}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await GenerationStub(channel).Generate(pb.GenerateRequest(prompt="Hello"))

        loaded = await server.line("loaded")

    assert "the model is still loading (" in raised.value.details()
    assert loaded["seconds"] >= 0.5


async def test_a_second_signal_ends_the_drain() -> None:
    async with serving(*SIMULATED, "--drain-seconds", "3600", "--simulated.step-time-ms", "100") as server:
        ports = await server.line("listening")
        await server.line("loaded")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc_port']}") as channel:
            minutes_long = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4000, "ignore_eos": True})
            call = GenerationStub(channel).StreamGenerate(minutes_long)
            await call.read()
            server.process.send_signal(signal.SIGTERM)
            await server.line("draining")

            server.process.send_signal(signal.SIGINT)

            assert (await failure_of(call)).code is grpc.StatusCode.UNAVAILABLE
        assert await server.process.wait() == 0


async def test_health_answers_while_the_model_loads_and_sigterm_ends_the_loading() -> None:
    async with serving(*SIMULATED, "--simulated.load-seconds", "3600") as server:
        ports = await server.line("listening")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['health_port']}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            reply = await health.Check(health_pb2.HealthCheckRequest())

        server.process.send_signal(signal.SIGTERM)
        assert reply.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await server.process.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--grpc-port", "99999"], "grpc_port: input should be less than or equal to 65535, got '99999'"),
        (["--engine", "gpt"], "engine: input should be 'vllm' or 'simulated', got 'gpt'"),
        (["--config", "/no/such.toml"], "config: there is no file '/no/such.toml'"),
        (["--engine", "simulated", "--", "--max-model-len", "5"], "the simulated engine takes no arguments after `--`"),
        (["--", "--model=acme/writer"], "--model is our own flag as well: give it before the `--`"),
    ],
)
async def test_a_wrong_value_stops_the_start_with_a_sentence(arguments: list[str], sentence: str) -> None:
    assert sentence in await refused(*arguments)


async def test_a_wrong_value_in_the_environment_or_the_file_is_named_as_well(tmp_path: Path) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text("grpc_prt = 1\n")

    assert "drain_seconds" in await refused(PENSTOCK_DRAIN_SECONDS="soon")
    assert "grpc_prt: extra inputs are not permitted" in await refused("--config", str(file))


@pytest.mark.parametrize("port", ["grpc_port", "health_port", "metrics_port"])
async def test_a_port_that_is_taken_stops_the_start_with_a_sentence(port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]

        said = await refused(*SIMULATED, f"--{port.replace('_', '-')}", str(number))

    assert said.endswith(f"penstock-serve: {port}: cannot open 127.0.0.1:{number}")


async def test_check_config_prints_the_settings_and_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text("grpc_port = 1\ndrain_seconds = 2\nlog_level = 'error'\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "penstock_service", "--engine", "simulated", "--check-config"),
        *("--config", str(file), "--grpc-port", "7"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PENSTOCK_DRAIN_SECONDS": "5"},
    )
    out, _ = await process.communicate()

    printed = json.loads(out)
    assert process.returncode == 0
    assert (printed["grpc_port"], printed["drain_seconds"], printed["log_level"]) == (7, 5, "error")


async def test_an_engine_that_does_not_start_is_a_failure_of_the_service(open_service: OpenService) -> None:
    loading = HeldLoading(MemoryError("no room"))
    running = await open_service(load=loading, ready=False)
    failing = asyncio.create_task(running.service.failure())

    loading.release.set()

    with pytest.raises(EngineFailed, match="did not start") as raised:
        await failing
    assert isinstance(raised.value.__cause__, MemoryError)
