"""Loading and unloading adapters while calls come and go."""

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from penstock.v1.models_pb2 import Model
from penstock_service.adapter_directory import AdapterDirectory
from penstock_service.adapter_loader import AdapterLoader
from penstock_service.adapters import AdapterTable, LoadedAdapter
from penstock_service.errors import (
    AdapterInUse,
    AdapterNotFound,
    AdapterRefused,
    AdaptersFull,
    FeatureOff,
    ModelNotFound,
    Unavailable,
)
from tests.adapter_files import write_adapter

MODEL = Model(name="writer")


class Engine:
    """An engine that loads and unloads when told to, and checks that it is told sensible things."""

    max_adapters = 3

    def __init__(self) -> None:
        self.adapters: set[str] = set()
        self.loads: list[str] = []
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.error: Exception | None = None

    async def load_adapter(self, key: str, directory: Path) -> None:
        assert key not in self.adapters, "loaded twice"
        self.loads.append(key)
        await self.may_load.wait()
        if self.error:
            raise self.error
        self.adapters.add(key)
        assert len(self.adapters) <= self.max_adapters

    async def unload_adapter(self, key: str) -> None:
        await asyncio.sleep(0)
        self.adapters.remove(key)


class Rig:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.table = AdapterTable()
        self.loader = AdapterLoader(self.table, AdapterDirectory(root))
        self.engine = Engine()
        for version in "1234":
            write_adapter(root, "legal", version, weights=version.encode())

    async def load(self, version: str) -> LoadedAdapter:
        return await self.loader.load(self.engine, "legal", version)

    async def unload(self, version: str) -> None:
        await self.loader.unload(self.engine, "legal", version)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def until_loading(rig: Rig, count: int = 1) -> None:
    while len(rig.engine.loads) < count:  # noqa: ASYNC110 - a thread reads the files first
        await asyncio.sleep(0.001)


async def test_calls_that_load_the_same_version_load_it_once(rig: Rig) -> None:
    adapters = await asyncio.gather(*(rig.load("1") for _ in range(8)))

    assert len({id(adapter) for adapter in [*adapters, await rig.load("1")]}) == 1
    assert rig.engine.loads == ["legal@1"]


async def test_a_load_goes_on_when_its_caller_leaves(rig: Rig) -> None:
    rig.engine.may_load.clear()
    calls = [asyncio.create_task(rig.load("1")) for _ in range(2)]
    await until_loading(rig)
    calls[0].cancel()
    rig.engine.may_load.set()

    assert (await calls[1]).key == "legal@1"
    assert calls[0].cancelled()
    assert rig.engine.loads == ["legal@1"]


async def test_nothing_is_found_before_the_engine_has_it(rig: Rig) -> None:
    rig.engine.may_load.clear()
    call = asyncio.create_task(rig.load("1"))
    await until_loading(rig)

    with pytest.raises(ModelNotFound):
        rig.table.resolve("legal@1", MODEL)

    rig.engine.may_load.set()
    assert await call is rig.table.resolve("legal@1", MODEL)


async def test_what_the_engine_refuses_leaves_nothing_and_can_be_tried_again(rig: Rig) -> None:
    rig.engine.error = AdapterRefused("legal@1", "its rank 64 is above 8")
    for _ in range(rig.engine.max_adapters + 1):
        with pytest.raises(AdapterRefused, match="rank 64"):
            await rig.load("1")

    rig.engine.error = None
    assert (await rig.load("1")).key == "legal@1"


async def test_files_that_change_while_the_engine_reads_them_are_refused(rig: Rig) -> None:
    rig.engine.may_load.clear()
    call = asyncio.create_task(rig.load("1"))
    await until_loading(rig)
    (rig.root / "legal" / "1" / "adapter_model.safetensors").write_bytes(b"others")
    rig.engine.may_load.set()

    with pytest.raises(AdapterRefused, match="changed"):
        await call

    assert rig.engine.adapters == set()


async def test_no_more_are_loaded_than_the_engine_takes_even_at_once(rig: Rig) -> None:
    outcomes = await asyncio.gather(*(rig.load(version) for version in "1234"), return_exceptions=True)

    full = [outcome for outcome in outcomes if isinstance(outcome, AdaptersFull)]
    assert len(full) == 1
    assert list(full[0].details()) == [], "waiting does not help, so nobody is told to"
    assert len(rig.engine.adapters) == 3


async def test_an_unload_waits_for_the_last_call_and_then_frees_the_place(rig: Rig) -> None:
    for version in "123":
        await rig.load(version)
    with rig.table.using("legal@1", MODEL):
        unloading = [asyncio.create_task(rig.unload("1")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ModelNotFound):
            rig.table.resolve("legal@1", MODEL)
        with pytest.raises(AdaptersFull):
            await rig.load("4")
        assert "legal@1" in rig.engine.adapters
        assert not any(task.done() for task in unloading)

    await asyncio.gather(*unloading)

    assert "legal@1" not in rig.engine.adapters
    await rig.load("4")


async def test_an_unload_goes_on_when_its_caller_leaves(rig: Rig) -> None:
    adapter = await rig.load("1")
    with rig.table.using("legal@1", MODEL):
        unloading = asyncio.create_task(rig.unload("1"))
        await asyncio.sleep(0)
        unloading.cancel()
        await asyncio.wait([unloading])

    await adapter.gone.wait()

    assert rig.engine.adapters == set()


async def test_a_version_that_leaves_is_loaded_anew_after_it_is_gone(rig: Rig) -> None:
    first = await rig.load("1")
    with rig.table.using("legal@1", MODEL):
        unloading = asyncio.create_task(rig.unload("1"))
        await asyncio.sleep(0)
        loading = asyncio.create_task(rig.load("1"))
        await asyncio.sleep(0)
        assert rig.engine.loads == ["legal@1"]

    await unloading
    assert await loading is not first
    assert rig.engine.loads == ["legal@1", "legal@1"]


async def test_a_dead_engine_still_ends_the_unload(rig: Rig) -> None:
    adapter = await rig.load("1")

    async def dead(key: str) -> None:
        raise Unavailable("ENGINE_DEAD")

    rig.engine.unload_adapter = dead  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await rig.unload("1")

    assert adapter.gone.is_set()


async def test_without_directory_engine_or_a_process_of_its_own_the_feature_is_off(rig: Rig) -> None:
    directory = AdapterDirectory(rig.root)
    off = [AdapterLoader(rig.table, None), AdapterLoader(rig.table, directory, alone=False)]
    rig.engine.max_adapters = 0
    for loader in [*off, rig.loader]:
        assert not loader.enabled(rig.engine)
        for change in (loader.load, loader.unload):
            with pytest.raises(FeatureOff):
                await change(rig.engine, "legal", "1")


@pytest.mark.parametrize("seed", range(20))
async def test_in_any_order_no_call_meets_an_adapter_that_the_engine_does_not_have(rig: Rig, seed: int) -> None:
    """Loads, unloads, switches and calls at random, some of them cancelled; at the end all can be unloaded."""
    chance = random.Random(seed)

    await asyncio.gather(*(Changes(rig, chance).run() for _ in range(4)))

    rig.table.set_alias("prod", "", MODEL)
    for version in "1234":
        with contextlib.suppress(AdaptersFull):
            await rig.load(version)
            await rig.unload(version)
    for version in "1234":
        with contextlib.suppress(AdapterNotFound):
            await rig.unload(version)
    assert rig.engine.adapters == set()


class Changes:
    """Twenty random steps."""

    expected = (AdaptersFull, AdapterNotFound, AdapterInUse, ModelNotFound)

    def __init__(self, rig: Rig, chance: random.Random) -> None:
        self.rig = rig
        self.chance = chance

    async def run(self) -> None:
        for _ in range(20):
            doing = asyncio.create_task(self.step())
            if self.chance.random() < 0.2:
                asyncio.get_running_loop().call_soon(doing.cancel)
            (outcome,) = await asyncio.gather(doing, return_exceptions=True)
            if isinstance(outcome, Exception) and not isinstance(outcome, self.expected):
                raise outcome

    async def step(self) -> None:
        version = self.chance.choice("1234")
        match self.chance.choice(["load", "unload", "alias", "call", "call", "call"]):
            case "load":
                await self.rig.load(version)
            case "unload":
                await self.rig.unload(version)
            case "alias":
                self.rig.table.set_alias("prod", self.chance.choice([f"legal@{version}", "writer", ""]), MODEL)
            case "call":
                await self.call(self.chance.choice(["prod", f"legal@{version}"]))

    async def call(self, name: str) -> None:
        with self.rig.table.using(name, MODEL) as adapter:
            for _ in range(self.chance.randrange(6)):
                assert adapter is None or adapter.key in self.rig.engine.adapters
                await asyncio.sleep(0)


async def test_what_a_dead_engine_has_taken_is_not_the_next_ones(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, real = [asyncio.Event(), asyncio.Event()], AdapterDirectory.unchanged

    async def slow(*given: Any) -> bool:
        reads[0].set()
        await reads[1].wait()
        return await real(*given)

    monkeypatch.setattr(AdapterDirectory, "unchanged", slow)
    await rig.loader.load_again(rig.engine)
    loading = asyncio.create_task(rig.load("1"))
    await reads[0].wait()

    await rig.loader.load_again(Engine())
    reads[1].set()

    with pytest.raises(Unavailable) as raised:
        await loading
    assert raised.value.reason == "ENGINE_DEAD"
    assert not rig.table.loaded()
