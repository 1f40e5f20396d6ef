"""`penstock-serve --frontends 2`: one service to its callers and operators, several processes inside."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.rpc.error_details import failure_of
from tests.rpc.test_process import refused

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
FREE_PORTS = ["--grpc-port", "0", "--health-port", "0", "--metrics-port", "0"]
MOST_REQUESTS = 8
CANARY = "a key that is nobody's business"
# The tests hold the engine, for as long as they like.
UNWATCHED = ("--engine-stall-seconds", "3600", "--engine-hang-seconds", "3600")
LIMITED = (*UNWATCHED, "--drain-seconds", "3600", "--", "--max-num-queued-reqs", str(MOST_REQUESTS))
# Scaled down from 9 s and 55 s.
SCALED = ("--engine-stall-seconds", "1", "--engine-hang-seconds", "5")
# A connection of its own each time: the kernel gives each to any of the front ends.
FRESH = [("grpc.use_local_subchannel_pool", 1)]
SHORT = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 8, "ignore_eos": True})
LONG = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 900, "ignore_eos": True})

real = [
    pytest.mark.real_vllm,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed here: `make test` installs it"),
]


class Service:
    """A running program, its processes, and the JSON lines of its log; those of vLLM are not JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._came = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while text := await self.process.stderr.readline():
            if text.startswith(b"{"):
                async with self._came:
                    self.lines.append(json.loads(text))
                    self._came.notify_all()
        async with self._came:
            self._came.notify_all()

    def seen(self, event: str) -> list[dict[str, Any]]:
        """The lines of that event, of the supervisor and of front ends."""
        return [line for line in self.lines if line["event"] == event]

    def draining(self) -> int:
        """How many calls the front ends had when they began to drain."""
        return sum(line["running"] for line in self.seen("draining") if "frontend" in line)

    async def line(self, event: str) -> dict[str, Any]:
        """The first line of that event that the supervisor itself writes."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.seen(event) if "frontend" not in line]

        async with self._came:
            await self._came.wait_for(lambda: found() or self._reading.done() or self.process.returncode is not None)
        assert found(), self.lines
        return found()[0]

    async def ended(self) -> int:
        """The exit status, once every line was read."""
        status = await self.process.wait()
        await self._reading
        return status

    def processes(self) -> list[psutil.Process]:
        """Those that the program has started, and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def front_ends(self) -> list[psutil.Process]:
        return [each for each in self.processes() if runs(each, "penstock_service.frontends.front_end")]

    def engine(self) -> list[psutil.Process]:
        return [each for each in self.processes() if is_named(each, "VLLM::EngineCor")]  # Linux cuts it there


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Service]:
    """The program in a process group of its own, as in a terminal."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock_service", "--frontends", "2", *FREE_PORTS, *arguments),
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PENSTOCK_API_KEY": CANARY, "VLLM_API_KEY": CANARY},
    )
    service = Service(process)
    try:
        yield service
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await service.ended()


@pytest.fixture(scope="module")
async def service() -> AsyncIterator[Service]:
    """A loaded service for all tests that leave it well; the last one drains it."""
    async with started(*LIMITED) as running:
        await running.line("loaded")
        yield running


@asynccontextmanager
async def connection(service: Service, port: str = "grpc_port") -> AsyncIterator[grpc.aio.Channel]:
    target = f"127.0.0.1:{(await service.line('listening'))[port]}"
    async with grpc.aio.insecure_channel(target, options=FRESH) as channel:
        yield channel


async def answered(service: Service) -> int:
    """Tokens of a short stream on a connection of its own."""
    while True:
        async with connection(service) as channel:
            try:
                *_, last = [chunk async for chunk in GenerationStub(channel).StreamGenerate(SHORT)]
                return last.usage.completion_tokens
            except grpc.aio.AioRpcError as error:
                # grpcio 1.85.1 now and then breaks a connection that it has just made.
                if "unexpected settings ack" not in (error.details() or ""):
                    raise


async def held(service: Service, stack: AsyncExitStack) -> list[Any]:
    """As many streams as may run, each on a connection of its own. The engine stands still, so that none ends."""
    await asyncio.gather(*(answered(service) for _ in range(MOST_REQUESTS)))
    service.engine()[0].suspend()
    channels = [await stack.enter_async_context(connection(service)) for _ in range(2 * MOST_REQUESTS)]
    calls = [GenerationStub(channel).StreamGenerate(LONG) for channel in channels]
    await until(lambda: sum(call.done() for call in calls) >= MOST_REQUESTS - 1)
    await decided(service)
    refusals = [await failure_of(call) for call in calls if call.done()]
    assert {(each.code, each.reason) for each in refusals} == {(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")}
    return [call for call in calls if not call.done()]


async def decided(service: Service) -> None:
    """Return once each front end has refused a call newer than all others: none of those is still to be refused."""
    before = len(service.seen("call"))
    while {line["frontend"] for line in service.seen("call")[before:]} != {0, 1}:
        async with connection(service) as channel:
            await failure_of(GenerationStub(channel).StreamGenerate(SHORT))


async def finished(call: Any) -> int:
    """Read a stream to its end, however that is; the tokens that its last chunk tells, 0 without one."""
    tokens = 0
    try:
        while (chunk := await call.read()) is not grpc.aio.EOF:
            tokens = chunk.usage.completion_tokens
    except grpc.aio.AioRpcError:
        return 0
    return tokens


def listeners(process: psutil.Process) -> list[Any]:
    return [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]


async def readiness(channel: grpc.aio.Channel) -> int:
    return (await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())).status


async def samples(service: Service, name: str) -> dict[str, float]:
    """Values of a metric, added up by their label `frontend`; it is '' for those that have none."""
    port = (await service.line("listening"))["metrics_port"]
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode())
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                frontend = sample.labels.get("frontend", "")
                found[frontend] = found.get(frontend, 0) + sample.value
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(200):  # an engine on a slow machine takes its time
        while not condition():  # noqa: ASYNC110 - the processes are of others and have no events
            await asyncio.sleep(0.02)


def is_named(process: psutil.Process, name: str) -> bool:
    """By what the kernel keeps: the command line is in the memory of a process that may be busy or stopped."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name().startswith(name)
    return False


def runs(process: psutil.Process, word: str) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return word in process.cmdline()
    return False


def gone(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


class TestServing:
    """All of one service, the last test ends it."""

    pytestmark = real

    async def test_its_processes_have_no_keys_and_no_ports_but_the_configured_ones(self, service: Service) -> None:
        listening = await service.line("listening")
        configured = {listening[port] for port in ("grpc_port", "health_port", "metrics_port")}
        ours = [psutil.Process(service.process.pid), *service.front_ends()]
        engine = [each for each in service.processes() if each not in ours]
        opened = {port.laddr.port for each in ours for port in listeners(each)}
        hosts = {port.laddr.ip for each in engine for port in listeners(each)}  # Gloo's

        assert opened == configured
        assert hosts <= {"127.0.0.1", "::1"}
        assert [each.name() for each in service.processes() if CANARY in each.environ().values()] == []

    async def test_health_says_serving_on_both_ports_once_loaded(self, service: Service) -> None:
        for port in ("grpc_port", "health_port"):
            async with connection(service, port) as channel:
                assert await readiness(channel) == SERVING

    async def test_both_front_ends_answer_and_their_metrics_add_up(self, service: Service) -> None:
        vllms = ("vllm:request_success_total", "vllm:generation_tokens_total")
        before = [(await samples(service, name))[""] for name in vllms]
        assert min(before) >= 2  # each front end had vLLM compile with a request of one token
        calls = 0
        while len(shares := await samples(service, "gen_ai_server_request_duration_seconds_count")) < 2 and calls < 200:
            assert await asyncio.gather(*(answered(service) for _ in range(8))) == [8] * 8
            calls += 8

        assert shares.keys() == {"0", "1"}
        assert sum(shares.values()) == calls
        now = [await samples(service, name) for name in vllms]
        assert now == [{"": before[0] + calls}, {"": before[1] + 8 * calls}]
        assert (await samples(service, "process_cpu_seconds_total")).keys() == {"0", "1"}

    async def test_every_line_of_a_front_end_says_which_one(self, service: Service) -> None:
        await answered(service)
        await until(lambda: bool(service.seen("call")))

        assert {line["frontend"] for line in service.seen("loaded") if "frontend" in line} == {0, 1}
        assert all("frontend" in line for line in service.seen("call"))

    async def test_tokens_reach_a_caller_of_another_terminal_while_the_engine_works(self, service: Service) -> None:
        begun = time.monotonic()
        async with connection(service) as channel:
            times = [begun, *[time.monotonic() async for _ in GenerationStub(channel).StreamGenerate(LONG)]]

        longest = max(after - before for before, after in pairwise(times))
        assert longest < (times[-1] - times[0]) / 2

    async def test_the_limit_of_queued_requests_is_shared(self, service: Service) -> None:
        async with AsyncExitStack() as stack:
            calls = await held(service, stack)
            service.engine()[0].resume()

            assert [await finished(call) for call in calls] == [900] * len(calls)
        # Two that arrive at the same moment may both see the last place free.
        assert MOST_REQUESTS <= len(calls) <= MOST_REQUESTS + 1

    async def test_a_signal_to_every_process_loses_no_running_stream(self, service: Service) -> None:
        processes = service.processes()
        async with AsyncExitStack() as stack:
            channel = await stack.enter_async_context(connection(service, "health_port"))
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING
            calls = await held(service, stack)

            os.killpg(service.process.pid, signal.SIGTERM)

            assert (await watch.read()).status == NOT_SERVING
            await until(lambda: service.draining() == len(calls))
            service.engine()[0].resume()
            assert [await finished(call) for call in calls] == [900] * len(calls)
        assert await service.ended() == 0
        await until(lambda: gone(processes))


class TestEnding:
    """What ends a service that nobody asked to end."""

    pytestmark = real

    async def test_a_killed_front_end_ends_the_service_and_the_others_drain(self) -> None:
        async with started(*LIMITED) as service, AsyncExitStack() as stack:
            await service.line("loaded")
            calls = await held(service, stack)
            processes = service.processes()

            service.front_ends()[0].kill()

            await service.line("draining")
            service.engine()[0].resume()
            whole = [await finished(call) for call in calls].count(900)
            assert await service.ended() == 1
            assert service.draining() == whole
            assert {await call.code() for call in calls} <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
            assert (await service.line("stopped"))["error"] == "front end 0 has ended with status -9"
            await until(lambda: gone(processes))

    async def test_a_hanging_engine_is_not_ready_then_killed_and_ends_the_service_and_its_calls(self) -> None:
        async with started(*SCALED) as service, AsyncExitStack() as stack:
            await service.line("loaded")
            await asyncio.gather(*(answered(service) for _ in range(MOST_REQUESTS)))
            processes = service.processes()
            channel = await stack.enter_async_context(connection(service, "health_port"))
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING

            channels = [await stack.enter_async_context(connection(service)) for _ in range(MOST_REQUESTS)]
            calls = [GenerationStub(channel).StreamGenerate(LONG) for channel in channels]
            for call in calls:
                await call.read()
            service.engine()[0].suspend()

            assert (await watch.read()).status == NOT_SERVING
            failures = [await failure_of(call) for call in calls]
            assert {(each.code, each.reason) for each in failures} == {(grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD")}
            assert await service.ended() == 1
            assert (await service.line("stopped"))["error"] == "the engine hung and was killed"
            await until(lambda: gone(processes))

    async def test_a_second_signal_ends_the_drain(self) -> None:
        async with started(*LIMITED) as service, AsyncExitStack() as stack:
            await service.line("loaded")
            calls = await held(service, stack)
            service.process.send_signal(signal.SIGTERM)
            await service.line("draining")

            service.process.send_signal(signal.SIGTERM)

            assert {(await failure_of(call)).reason for call in calls} == {"DRAINING"}
            service.engine()[0].resume()
            assert await service.ended() == 0

    async def test_a_stop_while_the_model_loads_is_quick_and_leaves_no_process_behind(self) -> None:
        async with started() as service:
            await service.line("listening")
            async with connection(service, "health_port") as channel:
                assert await readiness(channel) == NOT_SERVING
            async with connection(service) as channel:
                assert (await failure_of(GenerationStub(channel).Generate(SHORT))).reason == "LOADING"
            processes = service.processes()

            service.process.send_signal(signal.SIGTERM)

            async with asyncio.timeout(15):  # importing vLLM alone takes longer, and cannot be interrupted
                assert await service.ended() == 0
                await until(lambda: gone(processes))

    async def test_what_vllm_refuses_stops_the_start_with_a_sentence(self) -> None:
        said = await refused("--frontends", "2", *FREE_PORTS, "--", "--max-model-len", "many")

        assert "penstock-serve: arguments after `--`: argument --max-model-len" in said.splitlines()[-1]


async def test_the_simulated_engine_has_one_front_end() -> None:
    said = await refused("--engine", "simulated", "--frontends", "2", "--check-config")

    assert "frontends is 2, but the simulated engine lives in one process" in said


@pytest.mark.parametrize("port", ["grpc_port", "health_port", "metrics_port"])
async def test_a_port_that_is_taken_stops_the_start_even_if_its_owner_would_share_it(port: str) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        number = taken.getsockname()[1]

        said = await refused("--frontends", "2", *FREE_PORTS, f"--{port.replace('_', '-')}", str(number))

    assert said.endswith(f"penstock-serve: {port}: cannot open 127.0.0.1:{number}")
