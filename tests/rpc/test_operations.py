"""The admin port: what Operations tells and does, who may ask it, and that no other port has it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from penstock.v1 import generation_pb2, models_pb2, operations_pb2
from penstock.v1 import generation_pb2 as pb
from penstock.v1.operations_pb2 import (
    STAGE_ASLEEP,
    STAGE_DRAINING,
    STAGE_LAME_DUCK,
    STAGE_LOADING,
    STAGE_SERVING,
    DrainRequest,
    GetLoadRequest,
    GetStatusRequest,
    ResetPrefixCacheRequest,
    SleepRequest,
    StartProfileRequest,
    Status,
    StopProfileRequest,
    WakeRequest,
    WatchStatusRequest,
)
from penstock.v1.operations_pb2_grpc import OperationsStub
from penstock_service import __version__
from penstock_service.configuration import ConfigurationError
from penstock_service.engine.simulated_controls import SimulatedControls
from penstock_service.settings import Settings
from tests.client.certificates import Authority
from tests.conftest import OpenService, Running, eventually, opened, simulated_settings
from tests.faults.faulty_engine import HeldLoading
from tests.rpc.error_details import failure_of
from tests.rpc.server_process import SIMULATED, serving
from tests.rpc.test_process import refused

METHODS = operations_pb2.DESCRIPTOR.services_by_name["Operations"].methods
SHORT = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4, "ignore_eos": True})
LONG = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4000, "ignore_eos": True})
FIFTY = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 50, "ignore_eos": True})
SLOW = {"step_time_ms": 20}


@asynccontextmanager
async def admin(running: Running) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.service.admin_port}") as channel:
        yield OperationsStub(channel)


async def health(running: Running) -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.service.health_port}") as channel:
        return (await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())).status


async def told(watch: Any, wanted: Any) -> Status:
    """The first status of the watch that is as wanted."""
    async with asyncio.timeout(20):
        while not wanted(status := await watch.read()):
            assert status is not grpc.aio.EOF
    return status


# Who may ask, and where.


async def test_the_main_port_and_the_health_port_have_no_method_of_operations(open_service: OpenService) -> None:
    running = await open_service(admin_port=0)

    for port in (running.service.grpc_port, running.service.health_port):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for method in METHODS:
                call = channel.unary_unary(f"/penstock.v1.Operations/{method.name}")
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await call(b"")
                assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED, method.name


async def test_the_admin_port_has_operations_health_and_reflection_and_nothing_else(open_service: OpenService) -> None:
    running = await open_service(admin_port=0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.service.admin_port}") as channel:
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        services = {each.name for each in (await stream.read()).list_services_response.service}
        for descriptor in (generation_pb2.DESCRIPTOR, models_pb2.DESCRIPTOR):
            for service in descriptor.services_by_name.values():
                for method in service.methods:
                    with pytest.raises(grpc.aio.AioRpcError) as raised:
                        await channel.unary_unary(f"/{service.full_name}/{method.name}")(b"")
                    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED, method.name

    assert services == {
        "penstock.v1.Operations",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_there_is_no_admin_port_unless_it_is_asked_for(simulated: Running) -> None:
    assert simulated.service.admin_port is None


async def test_with_admin_keys_every_method_needs_one(open_service: OpenService, tmp_path: Path) -> None:
    file = tmp_path / "identity.toml"
    hashes = [hashlib.sha256(key.encode()).hexdigest() for key in ("operators-key", "tenants-key")]
    file.write_text(f'[admin]\nkeys = ["{hashes[0]}"]\n[[tenants]]\nname = "acme"\nkeys = ["{hashes[1]}"]\n')
    running = await open_service(admin_port=0, identity_file=file)

    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.service.admin_port}") as channel:
        for method in METHODS:
            for metadata in ((), (("authorization", "Bearer tenants-key"),)):
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await channel.unary_unary(f"/penstock.v1.Operations/{method.name}")(b"", metadata=metadata)
                assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED, method.name
        mine = (("authorization", "Bearer operators-key"),)
        status = await OperationsStub(channel).GetStatus(GetStatusRequest(), metadata=mine)
        open_to_all = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())

    assert status.stage == STAGE_SERVING
    assert open_to_all.status == health_pb2.HealthCheckResponse.SERVING


async def test_beyond_loopback_without_keys_the_service_does_not_start() -> None:
    settings = simulated_settings(admin_port=0, admin_host="0.0.0.0", insecure=True)  # noqa: S104

    with pytest.raises(ConfigurationError, match=r"admin_host is '0\.0\.0\.0', .* keys in the .admin. table"):
        async with opened(settings):
            pass


def test_beyond_loopback_it_needs_tls_or_an_operator_who_says_otherwise() -> None:
    with pytest.raises(ValueError, match=r"admin_host is '0\.0\.0\.0', .* tls_certificate and tls_key, or insecure"):
        Settings(admin_port=0, admin_host="0.0.0.0")  # noqa: S104


def test_several_front_ends_have_no_admin_port() -> None:
    with pytest.raises(ValueError, match="admin_port is 0, but frontends is 2"):
        Settings(admin_port=0, frontends=2)


async def test_the_admin_port_is_encrypted_when_the_service_is(open_service: OpenService, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("localhost", "server")
    running = await open_service(admin_port=0, tls_certificate=certificate, tls_key=key)

    encrypted = grpc.ssl_channel_credentials(authority.ca.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{running.service.admin_port}", encrypted) as channel:
        status = await OperationsStub(channel).GetStatus(GetStatusRequest())
    async with admin(running) as operations:
        failure = await failure_of(operations.GetStatus(GetStatusRequest()))

    assert status.stage == STAGE_SERVING
    assert failure.code is grpc.StatusCode.UNAVAILABLE


# How the server stands.


async def test_the_status_tells_of_loading_and_then_of_serving(open_service: OpenService) -> None:
    loading = HeldLoading()
    running = await open_service(load=loading, ready=False, admin_port=0)
    async with admin(running) as operations:
        await eventually(lambda: running.service.lifecycle.progress.step == "reading weights")
        before = await operations.GetStatus(GetStatusRequest())
        loading.release.set()
        await running.service.loading
        after = await operations.GetStatus(GetStatusRequest())

    assert (before.stage, before.ready, before.loading.step) == (STAGE_LOADING, False, "reading weights")
    assert before.not_ready_because == "the engine is loading"
    assert not before.loading.HasField("percent")  # nobody knows
    assert (after.stage, after.ready, after.not_ready_because) == (STAGE_SERVING, True, "")
    assert not after.HasField("loading")
    assert (after.engine, after.engine_version, after.version) == ("simulated", __version__, __version__)
    assert after.model == "builtin"
    assert after.uptime_ms >= before.uptime_ms
    assert before.loading.loading_time_ms >= before.loading.step_time_ms


async def test_a_loading_of_known_length_tells_its_percentage(open_service: OpenService) -> None:
    running = await open_service(ready=False, admin_port=0, simulated={"load_seconds": 3600})
    async with admin(running) as operations:
        await eventually(lambda: running.service.lifecycle.progress.step == "loading")
        status = await operations.GetStatus(GetStatusRequest())

    assert 0 <= status.loading.percent < 1


async def test_the_status_counts_what_runs_and_what_waits(open_service: OpenService) -> None:
    running = await open_service(admin_port=0, simulated={**SLOW, "max_concurrent_sequences": 2})
    calls = [running.generation.StreamGenerate(LONG) for _ in range(3)]

    async with admin(running) as operations:
        watch = operations.WatchStatus(WatchStatusRequest(interval_ms=100))
        status = await told(watch, lambda status: status.running_calls == 3 and status.waiting_sequences == 1)

    assert status.running_sequences == 2
    assert not any(call.done() for call in calls)


async def test_a_watch_tells_each_change_at_once_and_ends_well_with_the_server() -> None:
    loading = HeldLoading()
    stages = []
    async with AsyncExitStack() as later:
        async with opened(simulated_settings(admin_port=0), loading, ready=False) as running:
            operations = await later.enter_async_context(admin(running))
            watch = operations.WatchStatus(WatchStatusRequest(interval_ms=60_000))
            stages.append((await watch.read()).stage)
            loading.release.set()
            stages.append((await told(watch, lambda status: status.ready)).stage)
            await operations.Sleep(SleepRequest())
            stages.append((await watch.read()).stage)
            await operations.Wake(WakeRequest())
            stages.append((await watch.read()).stage)

        assert await ended(watch) is grpc.StatusCode.OK
    assert stages == [STAGE_LOADING, STAGE_SERVING, STAGE_ASLEEP, STAGE_SERVING]


async def ended(watch: Any) -> grpc.StatusCode:
    while await watch.read() is not grpc.aio.EOF:
        pass
    return await watch.code()


async def test_a_watch_tells_again_when_the_interval_is_over(open_service: OpenService) -> None:
    running = await open_service(admin_port=0)
    async with admin(running) as operations:
        watch = operations.WatchStatus(WatchStatusRequest(interval_ms=100))
        first, second = await watch.read(), await watch.read()

    assert second.uptime_ms - first.uptime_ms >= 100


@pytest.mark.parametrize("interval_ms", [0, 99, 60_001])
async def test_a_wrong_interval_is_refused_by_name(open_service: OpenService, interval_ms: int) -> None:
    running = await open_service(admin_port=0)
    async with admin(running) as operations:
        failure = await failure_of(operations.WatchStatus(WatchStatusRequest(interval_ms=interval_ms)))

    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["interval_ms"])
    assert failure.text == f"interval_ms: must be 100 to 60000, got {interval_ms}"


# How busy it is.


async def test_the_load_of_an_idle_server_has_places_and_no_wait(open_service: OpenService) -> None:
    running = await open_service(admin_port=0)
    async with admin(running) as operations:
        load = await operations.GetLoad(GetLoadRequest())

    assert load.admitting
    assert (load.running_sequences, load.waiting_sequences, load.queued_tokens) == (0, 0, 0)
    assert load.places == 256
    assert load.max_admitted_sequences >= load.places
    assert load.max_queued_tokens > 0
    assert (load.kv_cache_usage, load.predicted_wait_ms) == (0, 0)
    assert load.HasField("predicted_wait_ms")


async def test_the_load_of_a_full_server_tells_who_waits_and_for_how_long(open_service: OpenService) -> None:
    running = await open_service(
        admin_port=0, simulated={**SLOW, "max_concurrent_sequences": 1, "kv_cache_tokens": 100_000}
    )
    await running.generation.Generate(SHORT)  # from whose end the wait is predicted
    calls = [running.generation.StreamGenerate(LONG) for _ in range(12)]  # more than the engine itself takes
    await eventually(lambda: running.service.lifecycle.running == 12)
    await calls[0].read()

    async with admin(running) as operations:
        load = await operations.GetLoad(GetLoadRequest())

    assert (load.running_sequences, load.waiting_sequences) == (1, 11)
    assert 0 < load.queued_tokens < load.max_queued_tokens
    assert 0 < load.kv_cache_usage < 1
    assert load.predicted_wait_ms > 0


async def test_what_is_polled_is_logged_only_when_it_fails(open_service: OpenService) -> None:
    loading = HeldLoading()
    running = await open_service(load=loading, ready=False, admin_port=0)
    async with admin(running) as operations:
        with capture_logs() as lines:
            await failure_of(operations.GetLoad(GetLoadRequest()))
            loading.release.set()
            await running.service.loading
            await operations.GetLoad(GetLoadRequest())
            await operations.GetStatus(GetStatusRequest())
            await operations.ResetPrefixCache(ResetPrefixCacheRequest())

    calls = [(line["method"].rpartition("/")[2], line["log_level"]) for line in lines if line["event"] == "call"]
    assert calls == [("GetLoad", "info"), ("GetLoad", "debug"), ("GetStatus", "debug"), ("ResetPrefixCache", "info")]


async def test_there_is_no_load_without_an_engine(open_service: OpenService) -> None:
    running = await open_service(load=HeldLoading(), ready=False, admin_port=0)
    async with admin(running) as operations:
        failure = await failure_of(operations.GetLoad(GetLoadRequest()))

    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "LOADING")


# Drain.


async def test_a_drain_answers_at_once_and_lets_the_running_call_finish(open_service: OpenService) -> None:
    running = await open_service(admin_port=0, drain_seconds=3600, simulated=SLOW)
    chunks = aiter(running.generation.StreamGenerate(FIFTY))
    await anext(chunks)
    async with admin(running) as operations:
        begun = await operations.Drain(DrainRequest())
        assert (begun.running_calls, begun.drain_seconds, begun.lame_duck_seconds) == (1, 3600, 0)
        await running.service.stop_asked()  # what the program waits for, as for SIGTERM
        watch = operations.WatchStatus(WatchStatusRequest())
        draining = asyncio.create_task(running.service.drain(3600))
        status = await told(watch, lambda status: status.stage == STAGE_DRAINING)
        refused_call = await failure_of(running.generation.Generate(SHORT))
        *_, last = [chunk async for chunk in chunks]
        await draining

    assert not status.ready
    assert refused_call.reason == "DRAINING"
    assert last.usage.completion_tokens == 50


async def test_a_drain_takes_the_seconds_of_its_caller_also_when_it_runs_already(open_service: OpenService) -> None:
    running = await open_service(admin_port=0, simulated=SLOW)
    call = running.generation.StreamGenerate(LONG)
    await call.read()
    async with admin(running) as operations:
        assert (await operations.Drain(DrainRequest(drain_seconds=3600))).drain_seconds == 3600
        draining = asyncio.create_task(running.service.drain(0))
        await running.service.lifecycle.drain_begun.wait()
        assert not (await operations.GetStatus(GetStatusRequest())).ready
        assert not call.done()

        assert (await operations.Drain(DrainRequest(drain_seconds=0))).drain_seconds == 0

        assert (await failure_of(call)).reason == "DRAINING"
        await draining


async def test_calls_are_admitted_in_the_lame_duck_time_of_a_drain(open_service: OpenService) -> None:
    running = await open_service(admin_port=0, lame_duck_seconds=3600)
    async with admin(running) as operations:
        begun = await operations.Drain(DrainRequest())
        draining = asyncio.create_task(running.service.drain(0))
        await told(operations.WatchStatus(WatchStatusRequest()), lambda status: status.stage == STAGE_LAME_DUCK)
        reply = await running.generation.Generate(SHORT)
        asleep = await failure_of(operations.Sleep(SleepRequest()))
        running.service.hurry()
        await draining

    assert begun.lame_duck_seconds == 3600
    assert reply.usage.completion_tokens == 4
    assert asleep.reason == "DRAINING"


async def test_a_drain_ends_the_program_as_sigterm_does() -> None:
    async with serving(*SIMULATED, "--admin-port", "0") as server:
        ports = await server.line("listening")
        await server.line("loaded")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['admin_port']}") as channel:
            await OperationsStub(channel).Drain(DrainRequest())

        await server.line("stopped")
        assert await server.process.wait() == 0


@pytest.mark.parametrize("seconds", [-1.0, 86_401.0, float("nan")])
async def test_wrong_drain_seconds_are_refused_and_nothing_drains(open_service: OpenService, seconds: float) -> None:
    running = await open_service(admin_port=0)
    async with admin(running) as operations:
        failure = await failure_of(operations.Drain(DrainRequest(drain_seconds=seconds)))

        assert failure.fields == ["drain_seconds"]
        assert (await operations.GetStatus(GetStatusRequest())).stage == STAGE_SERVING


# Sleep.


async def test_a_sleeping_engine_is_unready_and_refuses_calls_until_it_is_woken(open_service: OpenService) -> None:
    running = await open_service(admin_port=0)
    async with admin(running) as operations:
        await operations.Sleep(SleepRequest())
        await operations.Sleep(SleepRequest())  # already
        asleep, unready = await operations.GetStatus(GetStatusRequest()), await health(running)
        failure = await failure_of(running.generation.Generate(SHORT))
        load = await operations.GetLoad(GetLoadRequest())
        await operations.Wake(WakeRequest())
        await operations.Wake(WakeRequest())
        awake = await operations.GetStatus(GetStatusRequest())
        reply = await running.generation.Generate(SHORT)

    assert (asleep.stage, asleep.ready, unready) == (STAGE_ASLEEP, False, health_pb2.HealthCheckResponse.NOT_SERVING)
    assert (failure.code, failure.reason, failure.retry_after) == (grpc.StatusCode.UNAVAILABLE, "ASLEEP", 5)
    assert not load.admitting
    assert (awake.stage, awake.ready) == (STAGE_SERVING, True)
    assert await health(running) == health_pb2.HealthCheckResponse.SERVING
    assert reply.usage.completion_tokens == 4


async def test_sleep_waits_for_the_running_calls(open_service: OpenService) -> None:
    running = await open_service(admin_port=0, simulated=SLOW)
    chunks = aiter(running.generation.StreamGenerate(FIFTY))
    await anext(chunks)
    async with admin(running) as operations:
        asleep = operations.Sleep(SleepRequest(wait_seconds=3600))
        await told(operations.WatchStatus(WatchStatusRequest()), lambda status: status.stage == STAGE_ASLEEP)
        assert not asleep.done()
        *_, last = [chunk async for chunk in chunks]
        await asleep

    assert last.usage.completion_tokens == 50


async def test_sleep_is_given_up_when_calls_still_run_in_the_end(open_service: OpenService) -> None:
    running = await open_service(admin_port=0, simulated=SLOW)
    call = running.generation.StreamGenerate(LONG)
    await call.read()
    async with admin(running) as operations:
        failure = await failure_of(operations.Sleep(SleepRequest(wait_seconds=0.05)))
        status = await operations.GetStatus(GetStatusRequest())
        reply = await running.generation.Generate(SHORT)

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CALLS_RUNNING")
    assert failure.text == "1 calls still run after 0.05 s"
    assert (status.stage, status.ready) == (STAGE_SERVING, True)
    assert reply.usage.completion_tokens == 4


async def test_a_caller_who_gives_up_waiting_for_the_sleep_leaves_the_service_awake(open_service: OpenService) -> None:
    running = await open_service(admin_port=0, simulated=SLOW)
    call = running.generation.StreamGenerate(LONG)
    await call.read()
    async with admin(running) as operations:
        asleep = operations.Sleep(SleepRequest())
        await told(operations.WatchStatus(WatchStatusRequest()), lambda status: status.stage == STAGE_ASLEEP)
        asleep.cancel()
        await told(operations.WatchStatus(WatchStatusRequest()), lambda status: status.stage == STAGE_SERVING)

    assert await health(running) == health_pb2.HealthCheckResponse.SERVING


async def test_a_caller_who_leaves_while_the_engine_falls_asleep_leaves_it_asleep(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def sleep(self: SimulatedControls) -> None:
        begun.set()
        await go_on.wait()

    monkeypatch.setattr(SimulatedControls, "sleep", sleep)
    running = await open_service(admin_port=0)
    async with admin(running) as operations:
        leaving = operations.Sleep(SleepRequest())
        await begun.wait()
        leaving.cancel()
        waking = operations.Wake(WakeRequest())  # waits until the engine is one or the other
        go_on.set()
        await waking

        assert (await operations.GetStatus(GetStatusRequest())).ready


async def test_a_sleep_that_the_engine_fails_leaves_the_service_awake(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: SimulatedControls) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(SimulatedControls, "sleep", fail)
    running = await open_service(admin_port=0)
    async with admin(running) as operations:
        failure = await failure_of(operations.Sleep(SleepRequest()))
        status = await operations.GetStatus(GetStatusRequest())

    assert (failure.code, "/secret" in failure.text) == (grpc.StatusCode.INTERNAL, False)
    assert (status.stage, status.ready) == (STAGE_SERVING, True)


async def test_a_stop_goes_before_a_sleep(open_service: OpenService) -> None:
    running = await open_service(admin_port=0)
    async with admin(running) as operations:
        await operations.Sleep(SleepRequest())
        await running.service.drain(0)

        assert (await failure_of(operations.Wake(WakeRequest()))).reason == "DRAINING"
        assert (await operations.GetStatus(GetStatusRequest())).stage == STAGE_DRAINING


# Caches and profiles.


async def test_a_reset_prefix_cache_that_jobs_hold_is_refused(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reset(self: SimulatedControls, preempt_running: bool) -> bool:
        return preempt_running

    monkeypatch.setattr(SimulatedControls, "reset_prefix_cache", reset)
    running = await open_service(admin_port=0)
    async with admin(running) as operations:
        failure = await failure_of(operations.ResetPrefixCache(ResetPrefixCacheRequest()))
        await operations.ResetPrefixCache(ResetPrefixCacheRequest(preempt_running=True))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CALLS_RUNNING")


async def test_an_engine_without_a_profiler_says_so(open_service: OpenService) -> None:
    running = await open_service(admin_port=0)
    async with admin(running) as operations:
        failures = [
            await failure_of(operations.StartProfile(StartProfileRequest())),
            await failure_of(operations.StopProfile(StopProfileRequest())),
        ]

    assert {(each.code, each.reason) for each in failures} == {(grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")}


async def test_a_port_that_is_taken_stops_the_start_with_a_sentence(simulated: Running) -> None:
    taken = simulated.service.grpc_port

    said = await refused(*SIMULATED, "--admin-port", str(taken))

    assert said.endswith(f"penstock-serve: admin_port: cannot open 127.0.0.1:{taken}")
