"""An engine that stalls, hangs or dies: what callers and probes hear, and how it comes back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from penstock_service import engine_watch
from penstock_service.configuration import ConfigurationError
from penstock_service.failures import EngineFailed
from penstock_service.lifecycle import Lifecycle, Stage
from penstock_service.settings import settings_from
from tests.adapter_files import write_adapter
from tests.conftest import OpenService, Running, eventually
from tests.faults.held_engine import HeldEngine, HeldEngines
from tests.rpc.error_details import Failure, failure_of

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SHORT = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 8, "ignore_eos": True})
LONG = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 300, "ignore_eos": True})
STALLS = {"engine_stall_seconds": 0.2, "engine_hang_seconds": 3600}
HANGS = {"engine_stall_seconds": 0.2, "engine_hang_seconds": 0.6}


class Heard:
    """What a watcher of the service's health hears."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch

    async def next(self) -> int:
        async with asyncio.timeout(200):
            return (await self._watch.read()).status


@asynccontextmanager
async def watching(running: Running) -> AsyncIterator[Heard]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.service.health_port}") as channel:
        heard = Heard(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="")))
        assert await heard.next() == SERVING
        yield heard


async def rest_of(stream: Any) -> list[pb.GenerateChunk]:
    """The chunks of a stream that ends well."""
    chunks = []
    while (chunk := await stream.read()) is not grpc.aio.EOF:
        chunks.append(chunk)
    return chunks


async def cut(stream: Any) -> tuple[list[pb.GenerateChunk], Failure]:
    """The rest of a stream that fails, and how."""
    chunks = []
    with contextlib.suppress(grpc.aio.AioRpcError):
        while (chunk := await stream.read()) is not grpc.aio.EOF:
            chunks.append(chunk)
    return chunks, await failure_of(stream)


def outcome(failure: Failure) -> tuple[grpc.StatusCode, str, float | None]:
    return failure.code, failure.reason, failure.retry_after


ENGINE_STALLED = (grpc.StatusCode.UNAVAILABLE, "ENGINE_STALLED", 1)
ENGINE_DEAD = (grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD", 1)


async def test_a_stalled_engine_takes_no_new_calls_and_keeps_the_running_ones(open_service: OpenService) -> None:
    engines = HeldEngines()
    running = await open_service(load=engines, **STALLS)
    async with watching(running) as health:
        stream = running.generation.StreamGenerate(LONG)
        await stream.read()

        engines.newest.going.clear()
        assert await health.next() == NOT_SERVING
        refused = [await failure_of(call(SHORT)) for call in both(running)]
        engines.newest.going.set()

        assert await health.next() == SERVING
        assert {outcome(each) for each in refused} == {ENGINE_STALLED}
        assert (await rest_of(stream))[-1].usage.completion_tokens == 300
        assert (await running.generation.Generate(SHORT)).usage.completion_tokens == 8


async def test_an_engine_that_stopped_while_idle_is_found_by_its_first_call(open_service: OpenService) -> None:
    engines = HeldEngines()
    running = await open_service(load=engines, **STALLS)
    async with watching(running) as health:
        engines.newest.going.clear()

        call = running.generation.Generate(SHORT)

        assert await health.next() == NOT_SERVING
        engines.newest.going.set()
        assert (await call).usage.completion_tokens == 8


async def test_a_hanging_engine_is_killed_and_its_streams_end_with_what_they_have(open_service: OpenService) -> None:
    engines = HeldEngines()
    running = await open_service(load=engines, **HANGS)
    stream = running.generation.StreamGenerate(LONG)
    first = await stream.read()

    engines.newest.going.clear()
    unary = running.generation.Generate(SHORT)
    rest, failure = await cut(stream)

    tokens = rest[-1].usage.completion_tokens
    assert 0 < tokens < 300
    assert "".join(chunk.deltas[0].text for chunk in [first, *rest])
    assert rest[-1].usage.prompt_tokens > 0
    assert outcome(failure) == outcome(await failure_of(unary)) == ENGINE_DEAD
    with pytest.raises(EngineFailed, match="the engine hung and was killed"):
        await running.service.failure()


async def test_an_engine_that_does_not_die_when_killed_is_given_up(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeldEngine, "kill", lambda self: None)
    monkeypatch.setattr(engine_watch, "_DEATH_SECONDS", 0.1)
    engines = HeldEngines()
    running = await open_service(load=engines, **HANGS)
    stream = running.generation.StreamGenerate(LONG)
    await stream.read()

    engines.newest.going.clear()
    rest, failure = await cut(stream)

    assert rest[-1].usage.completion_tokens > 0
    assert outcome(failure) == ENGINE_DEAD
    with pytest.raises(EngineFailed, match="the engine hung and was killed"):
        await running.service.failure()


async def test_a_watch_that_fails_ends_the_service(open_service: OpenService, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: HeldEngine) -> None:
        raise PermissionError("kill")

    monkeypatch.setattr(HeldEngine, "kill", broken)
    engines = HeldEngines()
    running = await open_service(load=engines, **HANGS)
    call = running.generation.StreamGenerate(LONG)
    await call.read()

    engines.newest.going.clear()

    async with asyncio.timeout(10):
        with pytest.raises(EngineFailed, match="the watch over the engine has failed"):
            await running.service.failure()
    engines.newest.going.set()


async def test_without_a_place_for_the_stacks_a_hang_is_ended_all_the_same(
    open_service: OpenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_place(mode: str) -> None:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("tempfile.TemporaryFile", no_place)
    engines = HeldEngines()
    running = await open_service(load=engines, **HANGS)
    engines.newest.going.clear()

    assert outcome(await failure_of(running.generation.Generate(SHORT))) == ENGINE_DEAD


async def test_a_stall_in_the_lame_duck_time_refuses_calls_too(open_service: OpenService) -> None:
    engines = HeldEngines()
    running = await open_service(load=engines, lame_duck_seconds=3600, **STALLS)
    stream = running.generation.StreamGenerate(LONG)
    await stream.read()
    draining = asyncio.create_task(running.service.drain(3600))
    await eventually(lambda: running.service.lifecycle.stage is Stage.LAME_DUCK, "lame duck")

    engines.newest.going.clear()
    await eventually(lambda: not running.service.lifecycle.admitting, "a stall")

    assert outcome(await failure_of(running.generation.Generate(SHORT))) == ENGINE_STALLED
    engines.newest.going.set()
    stream.cancel()
    running.service.hurry()
    await draining


async def test_a_dead_engine_is_started_again_in_place(open_service: OpenService) -> None:
    engines = HeldEngines()
    running = await open_service(load=engines, engine_restarts=1)
    async with watching(running) as health:
        stream = running.generation.StreamGenerate(LONG)
        await stream.read()
        engines.room.clear()

        engines.newest.kill()
        assert await health.next() == NOT_SERVING
        loading = await failure_of(running.generation.Generate(SHORT))
        engines.room.set()

        assert await health.next() == SERVING
        assert outcome((await cut(stream))[1]) == ENGINE_DEAD
        assert (loading.code, loading.reason) == (grpc.StatusCode.UNAVAILABLE, "LOADING")
        assert (await running.generation.Generate(SHORT)).usage.completion_tokens == 8
        assert len(engines.made) == 2


async def test_so_is_one_that_hung(open_service: OpenService) -> None:
    engines = HeldEngines()
    running = await open_service(load=engines, engine_restarts=1, **HANGS)
    async with watching(running) as health:
        engines.newest.going.clear()
        call = running.generation.Generate(SHORT)

        assert [await health.next(), await health.next()] == [NOT_SERVING, SERVING]
        assert outcome(await failure_of(call)) == ENGINE_DEAD
        assert (await running.generation.Generate(SHORT)).usage.completion_tokens == 8


async def test_past_the_limit_of_restarts_the_service_ends(open_service: OpenService) -> None:
    engines = HeldEngines()
    running = await open_service(load=engines, engine_restarts=2)

    for restarts in (1, 2):
        engines.newest.kill()
        await eventually(lambda made=restarts + 1: len(engines.made) == made, "another engine")
        await running.service.loading
    engines.newest.kill()

    with pytest.raises(EngineFailed, match="stopped by itself"):
        await running.service.failure()
    assert outcome(await failure_of(running.generation.Generate(SHORT))) == ENGINE_DEAD
    assert len(engines.made) == 3


async def test_an_engine_that_does_not_start_again_is_tried_once_more(open_service: OpenService) -> None:
    engines = HeldEngines(1)
    running = await open_service(load=engines, engine_restarts=2)
    async with watching(running) as health:
        engines.newest.kill()

        assert [await health.next(), await health.next()] == [NOT_SERVING, SERVING]
        assert (await running.generation.Generate(SHORT)).usage.completion_tokens == 8


async def test_settings_that_have_served_are_not_wrong_when_another_load_fails(open_service: OpenService) -> None:
    engines = HeldEngines(1, error=ConfigurationError("vLLM refuses the model: Input/output error"))
    running = await open_service(load=engines, engine_restarts=2)
    async with watching(running) as health:
        engines.newest.kill()

        assert [await health.next(), await health.next()] == [NOT_SERVING, SERVING]


async def test_a_service_that_stops_starts_no_engine_again(open_service: OpenService) -> None:
    engines = HeldEngines()
    running = await open_service(load=engines, engine_restarts=3)
    running.service.begin_drain()

    engines.newest.kill()

    with pytest.raises(EngineFailed):
        await running.service.failure()
    assert len(engines.made) == 1


async def adapted(running: Running, model: str) -> pb.AdapterVersion:
    reply = await running.generation.Generate(pb.GenerateRequest(prompt="Hello", model=model, stopping=SHORT.stopping))
    return reply.adapter


async def with_adapters(open_service: OpenService, root: Path) -> tuple[Running, HeldEngines]:
    """A service with two adapters loaded and an alias for each, that starts its engine again."""
    for version in "12":
        write_adapter(root, "legal", version, weights=version.encode())
    engines = HeldEngines()
    running = await open_service(load=engines, adapter_directory=root, engine_restarts=1)
    for version, alias in (("1", "old"), ("2", "new")):
        await running.models.LoadAdapter(models_pb2.LoadAdapterRequest(name="legal", version=version))
        await running.models.SetAlias(models_pb2.SetAliasRequest(alias=alias, target=f"legal@{version}"))
    return running, engines


async def start_again(running: Running, engines: HeldEngines) -> None:
    async with watching(running) as health:
        engines.newest.kill()
        assert [await health.next(), await health.next()] == [NOT_SERVING, SERVING]


async def test_adapters_and_aliases_are_there_again_before_the_first_call(
    open_service: OpenService, tmp_path: Path
) -> None:
    running, engines = await with_adapters(open_service, tmp_path)
    before = [await adapted(running, alias) for alias in ("old", "new")]

    await start_again(running, engines)

    assert [await adapted(running, alias) for alias in ("old", "new")] == before
    assert (await adapted(running, "legal@1")).version == "1"


@pytest.mark.parametrize("change", ["gone", "changed"])
async def test_an_adapter_whose_files_are_not_the_same_any_more_is_gone_with_its_alias(
    open_service: OpenService, tmp_path: Path, change: str
) -> None:
    running, engines = await with_adapters(open_service, tmp_path)
    weights = tmp_path / "legal" / "1" / "adapter_model.safetensors"
    weights.unlink() if change == "gone" else weights.write_bytes(b"other")

    await start_again(running, engines)

    for name in ("old", "legal@1"):
        assert (await failure_of(running.generation.Generate(pb.GenerateRequest(prompt="Hi", model=name)))).reason == (
            "MODEL_NOT_FOUND"
        )
    assert (await adapted(running, "new")).version == "2"
    (model,) = (await running.models.ListModels(models_pb2.ListModelsRequest())).models
    assert [alias.name for alias in model.adapter_aliases] == ["new"]


async def test_a_stall_shows_whatever_the_stage_was_when_it_began(simulated: Running) -> None:
    lifecycle = Lifecycle()
    lifecycle.stalled()

    lifecycle.loaded(simulated.engine)
    assert (lifecycle.stage, lifecycle.ready, lifecycle.admitting) == (Stage.STALLED, False, False)

    lifecycle.recovered()
    assert (lifecycle.stage, lifecycle.ready, lifecycle.admitting) == (Stage.SERVING, True, True)


async def test_a_service_that_is_told_to_stop_while_it_loads_is_never_ready(simulated: Running) -> None:
    lifecycle = Lifecycle()
    lifecycle.begin_drain()

    lifecycle.loaded(simulated.engine)

    assert not lifecycle.ready


def test_several_front_ends_start_no_engine_again() -> None:
    with pytest.raises(ConfigurationError, match="engine_restarts is 1, but front ends \\(here 2\\) cannot"):
        settings_from(["--frontends", "2", "--engine-restarts", "1"])


def both(running: Running) -> list[Callable[[pb.GenerateRequest], Any]]:
    return [running.generation.Generate, running.generation.StreamGenerate]
