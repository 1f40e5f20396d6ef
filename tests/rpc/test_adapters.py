"""Adapters over the wire, on the simulated engine: loaded, named by aliases, switched and unloaded under load."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
import structlog

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from penstock_service.engine.base import Engine
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.settings import Settings
from tests.adapter_files import write_adapter
from tests.conftest import OpenService, Running, eventually, opened, simulated_settings
from tests.rpc.error_details import Failure, failure_of
from tests.rpc.session_user import SessionUser

LOAD, UNLOAD, ALIAS = models_pb2.LoadAdapterRequest, models_pb2.UnloadAdapterRequest, models_pb2.SetAliasRequest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for version in "123456789":
        write_adapter(tmp_path, "legal", version, weights=version.encode())
    return tmp_path


@pytest.fixture
async def served(open_service: OpenService, root: Path) -> Running:
    """A service with two versions of an adapter loaded."""
    running = await open_service(adapter_directory=root)
    for version in "12":
        await running.models.LoadAdapter(LOAD(name="legal", version=version))
    return running


def request(model: str = "", tokens: int = 24) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt="Hello", model=model, stopping={"max_tokens": tokens, "ignore_eos": True})


async def text_of(running: Running, model: str) -> str:
    return (await running.generation.Generate(request(model))).sequences[0].text


async def described(running: Running) -> models_pb2.Model:
    (model,) = (await running.models.ListModels(models_pb2.ListModelsRequest())).models
    return model


def outcome(failure: Failure) -> tuple[grpc.StatusCode, str]:
    return failure.code, failure.reason


MODEL_NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
ADAPTER_NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "ADAPTER_NOT_FOUND")


async def test_a_loaded_adapter_answers_its_name_and_the_model_answers_its_own(served: Running) -> None:
    texts = {name: await text_of(served, name) for name in ("", "builtin", "legal@1", "legal@2")}

    assert texts[""] == texts["builtin"]
    assert len(set(texts.values())) == 3


async def test_a_reply_names_the_version_that_made_it_and_a_model_alone_names_none(served: Running) -> None:
    await served.models.SetAlias(ALIAS(alias="prod", target="legal@2"))
    model = await described(served)
    expected = pb.AdapterVersion(name="legal", version="2", digest=model.adapters[1].digest)

    for name in ("legal@2", "prod"):
        reply = await served.generation.Generate(request(name))
        first, *rest = [chunk async for chunk in served.generation.StreamGenerate(request(name))]
        assert (reply.adapter, reply.model, first.adapter) == (expected, "builtin", expected)
        assert not any(chunk.HasField("adapter") for chunk in rest)
    assert not (await served.generation.Generate(request())).HasField("adapter")


async def test_the_log_names_the_version_that_served_and_not_the_alias(served: Running) -> None:
    await served.models.SetAlias(ALIAS(alias="prod", target="legal@2"))

    with structlog.testing.capture_logs() as lines:
        for name in ("prod", "legal@1", ""):
            await text_of(served, name)

    assert [line["model"] for line in lines if line["event"] == "call"] == ["legal@2", "legal@1", "builtin"]


async def test_a_session_uses_adapters_as_other_calls_do(served: Running) -> None:
    async with SessionUser(served) as user:
        for number, name in enumerate(("legal@1", "legal@2", ""), 1):
            await user.start(number, request(name))
        texts = [await user.text(number) for number in (1, 2, 3)]

    assert texts == [await text_of(served, name) for name in ("legal@1", "legal@2", "")]


async def test_a_model_tells_its_adapters_and_aliases_by_any_of_its_names(served: Running) -> None:
    await served.models.SetAlias(ALIAS(alias="prod", target="legal@1"))

    model = await described(served)

    assert model.adapters_enabled
    assert [(adapter.name, adapter.version, adapter.rank) for adapter in model.adapters] == [
        ("legal", "1", 4),
        ("legal", "2", 4),
    ]
    assert len({adapter.digest for adapter in model.adapters}) == 2
    assert all(adapter.digest.startswith("sha256:") and len(adapter.digest) == 71 for adapter in model.adapters)
    assert model.adapters[0].load_time.seconds >= model.load_time.seconds
    assert [(alias.name, alias.target) for alias in model.adapter_aliases] == [("prod", "legal@1")]
    for name in ("builtin", "legal@2", "prod"):
        assert await served.models.GetModel(models_pb2.GetModelRequest(name=name)) == model


async def test_loading_a_loaded_version_changes_nothing(served: Running) -> None:
    before = await described(served)

    again = await asyncio.gather(*(served.models.LoadAdapter(LOAD(name="legal", version="1")) for _ in range(4)))

    assert {reply.adapter.load_time.ToNanoseconds() for reply in again} == {
        before.adapters[0].load_time.ToNanoseconds()
    }
    assert await described(served) == before


async def test_an_unload_waits_for_running_calls_which_new_ones_do_not_join(served: Running) -> None:
    stream = served.generation.StreamGenerate(request("legal@1", tokens=1000))
    await stream.read()
    assert (await described(served)).adapters[0].running_calls == 1

    unloading = served.models.UnloadAdapter(UNLOAD(name="legal", version="1"))
    await until_not_found(served, "legal@1")
    assert not unloading.done()

    assert (await last_chunk(stream)).usage.completion_tokens == 1000
    await unloading
    assert outcome(await failure_of(served.models.UnloadAdapter(UNLOAD(name="legal", version="1")))) == (
        ADAPTER_NOT_FOUND
    )
    assert [adapter.version for adapter in (await described(served)).adapters] == ["2"]


async def last_chunk(stream: grpc.aio.UnaryStreamCall) -> pb.GenerateChunk:
    last = None
    while (chunk := await stream.read()) is not grpc.aio.EOF:
        last = chunk
    return last


async def until_not_found(running: Running, name: str) -> None:
    while await running.generation.Generate(request(name, tokens=1)).code() is grpc.StatusCode.OK:
        pass
    assert outcome(await failure_of(running.generation.Generate(request(name)))) == MODEL_NOT_FOUND


async def test_callers_that_leave_do_not_keep_an_adapter(served: Running) -> None:
    calls = [served.generation.StreamGenerate(request("legal@1", tokens=4000)) for _ in range(4)]
    calls += [served.generation.Generate(request("legal@1", tokens=4000)) for _ in range(4)]
    await eventually(lambda: served.engine.running == 8, "all calls run")

    for call in calls:
        call.cancel()
    await served.models.UnloadAdapter(UNLOAD(name="legal", version="1"))

    assert served.engine.running == 0


async def test_ten_switches_of_an_alias_under_load_lose_no_call_and_each_reply_is_of_one_version(
    served: Running,
) -> None:
    texts = {version: await text_of(served, f"legal@{version}") for version in "12"}
    await served.models.SetAlias(ALIAS(alias="prod", target="legal@1"))
    replies: list[pb.GenerateResponse] = []
    switched = asyncio.Event()

    async def caller() -> None:
        while not switched.is_set():
            replies.append(await served.generation.Generate(request("prod")))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(caller())
        for number in range(10):
            seen = len(replies)
            await eventually(lambda seen=seen: len(replies) >= seen + 8, "calls go on")
            old, new = ("1", "2") if number % 2 == 0 else ("2", "1")
            moved = await served.models.SetAlias(ALIAS(alias="prod", target=f"legal@{new}"))
            assert moved.previous_target == f"legal@{old}"
            # The one that nobody means any more can go, and come back, while its last calls end.
            await served.models.UnloadAdapter(UNLOAD(name="legal", version=old))
            await served.models.LoadAdapter(LOAD(name="legal", version=old))
        switched.set()

    assert {reply.adapter.version for reply in replies} == {"1", "2"}
    assert all(reply.sequences[0].text == texts[reply.adapter.version] for reply in replies)


async def test_what_an_alias_means_stays_loaded(served: Running) -> None:
    await served.models.SetAlias(ALIAS(alias="prod", target="legal@1"))

    failure = await failure_of(served.models.UnloadAdapter(UNLOAD(name="legal", version="1")))

    assert outcome(failure) == (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_IN_USE")
    assert "prod" in failure.text
    assert await text_of(served, "prod")


async def test_an_alias_means_nothing_before_it_is_set_and_after_it_is_removed(served: Running) -> None:
    before = await failure_of(served.generation.Generate(request("prod")))
    await served.models.SetAlias(ALIAS(alias="prod", target="builtin"))
    meant = await text_of(served, "prod")
    await served.models.SetAlias(ALIAS(alias="prod", target=""))
    after = await failure_of(served.generation.Generate(request("prod")))

    assert outcome(before) == outcome(after) == MODEL_NOT_FOUND
    assert meant == await text_of(served, "")


@pytest.mark.parametrize(
    ("alias", "target", "expected"),
    [
        ("builtin", "legal@1", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")),
        ("le/gal", "legal@1", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")),
        ("prod", "x" * 513, (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")),
        ("prod", "legal@3", MODEL_NOT_FOUND),
        ("prod", "legal", MODEL_NOT_FOUND),
    ],
)
async def test_an_alias_that_cannot_be_is_refused(
    served: Running, alias: str, target: str, expected: tuple[grpc.StatusCode, str]
) -> None:
    assert outcome(await failure_of(served.models.SetAlias(ALIAS(alias=alias, target=target)))) == expected


@pytest.mark.parametrize("name", ["../../etc", "/etc", "a/b", "..", "", "a\0b", "a" * 1024, "lеgal", "t:legal"])  # noqa: RUF001
async def test_a_name_that_is_no_plain_name_is_an_invalid_field(served: Running, name: str) -> None:
    for message in (LOAD, UNLOAD):
        method = served.models.LoadAdapter if message is LOAD else served.models.UnloadAdapter
        failure = await failure_of(method(message(name=name, version=name)))

        assert outcome(failure) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert failure.fields == ["name", "version"]


async def test_a_version_that_is_not_there_is_not_found_and_a_wrong_one_is_refused_without_a_path(
    served: Running, root: Path
) -> None:
    (root / "legal" / "3" / "adapter_config.json").write_text("{}")

    missing = await failure_of(served.models.LoadAdapter(LOAD(name="medical", version="1")))
    wrong = await failure_of(served.models.LoadAdapter(LOAD(name="legal", version="3")))

    assert outcome(missing) == ADAPTER_NOT_FOUND
    assert outcome(wrong) == (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_REFUSED")
    assert "rank" in wrong.text
    assert str(root) not in missing.text + wrong.text


async def test_one_more_than_the_engine_takes_is_refused_until_another_is_unloaded(served: Running) -> None:
    for version in "345678":
        await served.models.LoadAdapter(LOAD(name="legal", version=version))

    full = await failure_of(served.models.LoadAdapter(LOAD(name="legal", version="9")))
    await served.models.UnloadAdapter(UNLOAD(name="legal", version="1"))
    await served.models.LoadAdapter(LOAD(name="legal", version="9"))

    assert outcome(full) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ADAPTERS_FULL")
    assert full.retry_after is None


def without_adapters() -> Callable[[Settings], Awaitable[Engine]]:
    async def load(settings: Settings) -> Engine:
        engine = await SimulatedEngine.load(settings)
        engine.max_adapters = 0
        return engine

    return load


@pytest.mark.parametrize("why", ["no directory", "no adapters in the engine"])
async def test_where_adapters_are_off_loading_says_so_and_the_model_too(
    open_service: OpenService, root: Path, why: str
) -> None:
    running = (
        await open_service()
        if why == "no directory"
        else await open_service(load=without_adapters(), adapter_directory=root)
    )

    for call in (
        running.models.LoadAdapter(LOAD(name="legal", version="1")),
        running.models.UnloadAdapter(UNLOAD(name="legal", version="1")),
    ):
        assert outcome(await failure_of(call)) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")
    assert not (await described(running)).adapters_enabled


async def test_a_drain_lets_an_unload_and_the_call_that_it_waits_for_end(root: Path) -> None:
    async with opened(simulated_settings(adapter_directory=root)) as running:
        await running.models.LoadAdapter(LOAD(name="legal", version="1"))
        stream = running.generation.StreamGenerate(request("legal@1", tokens=300))
        await stream.read()
        unloading = running.models.UnloadAdapter(UNLOAD(name="legal", version="1"))
        await until_not_found(running, "legal@1")

        await running.service.drain(30)

        assert (await last_chunk(stream)).usage.completion_tokens == 300
        await unloading
