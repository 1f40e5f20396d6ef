"""Loads and unloads adapters: once however many calls ask for it, and to its end whoever leaves meanwhile."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from penstock.v1.generation_pb2 import AdapterVersion
from penstock_service.adapter_directory import AdapterDirectory, AdapterFiles, check_names, key_of
from penstock_service.adapters import AdapterTable, LoadedAdapter
from penstock_service.engine.base import Engine
from penstock_service.errors import AdapterNotFound, AdapterRefused, FeatureOff, Unavailable
from penstock_service.settings import Settings

log = structlog.get_logger()

T = TypeVar("T")


class AdapterLoader:
    """Changes which adapters an engine has. `alone`: no other process serves calls from the same engine."""

    def __init__(self, table: AdapterTable, directory: AdapterDirectory | None, alone: bool = True) -> None:
        self._table = table
        self._directory = directory
        self._alone = alone
        self._newest: Engine | None = None  # that has been given what the one before it had
        self._loading: dict[str, asyncio.Task[LoadedAdapter]] = {}
        self._unloading: dict[str, asyncio.Task[None]] = {}

    @classmethod
    def of(cls, settings: Settings, table: AdapterTable) -> Self:
        """As the operator has set it up."""
        directory = settings.adapter_directory
        return cls(table, AdapterDirectory(directory) if directory else None, alone=settings.frontends == 1)

    def enabled(self, engine: Engine) -> bool:
        """Whether adapters can be loaded."""
        return self._directory is not None and self._alone and engine.max_adapters > 0

    def check_alone(self) -> None:
        """Raise FeatureOff if other processes would not learn of a change."""
        if not self._alone:
            raise FeatureOff("adapters and aliases need a server with one front end (--frontends 1)")

    async def load(self, engine: Engine, name: str, version: str) -> LoadedAdapter:
        """The version, loaded. Raises what the contract lists for LoadAdapter."""
        directory = self._enabled_directory(engine)
        check_names(name, version)
        work = self._load(engine, directory, name, version)
        return await _once(self._loading, key_of(name, version), work)

    async def unload(self, engine: Engine, name: str, version: str) -> None:
        """Return when the last call that uses the version has ended and the engine has it no more.

        New calls do not find it from now on. Raises what the contract lists for UnloadAdapter.
        """
        self._enabled_directory(engine)
        check_names(name, version)
        key = key_of(name, version)
        leaving = self._table.leaving(key) or self._table.retire(key)
        await _once(self._unloading, key, self._unload(engine, leaving))

    async def load_again(self, engine: Engine) -> None:
        """Give a new engine what the one before it had. What it does not take any more is forgotten."""
        self._newest = engine
        for adapter in self._table.loaded():
            await self._load_one_again(engine, adapter)

    async def _load_one_again(self, engine: Engine, adapter: LoadedAdapter) -> None:
        version = adapter.version
        try:
            files = await self._enabled_directory(engine).find(version.name, version.version)
            if files.digest != version.digest:
                raise AdapterRefused(adapter.key, "its files have changed")
            await engine.load_adapter(adapter.key, files.path)
        except (AdapterNotFound, AdapterRefused) as error:
            log.error("an adapter is lost with the engine", adapter=adapter.key, error=str(error))
            self._table.forget(adapter.key)

    def _enabled_directory(self, engine: Engine) -> AdapterDirectory:
        self.check_alone()
        if self._directory is None:
            raise FeatureOff("this server has no adapter directory (--adapter-directory)")
        if engine.max_adapters < 1:
            raise FeatureOff("this server's engine runs without adapters (vLLM's --enable-lora)")
        return self._directory

    async def _load(self, engine: Engine, directory: AdapterDirectory, name: str, version: str) -> LoadedAdapter:
        key = key_of(name, version)
        if (leaving := self._table.leaving(key)) is not None:
            await leaving.gone.wait()
        if (loaded := self._table.find(key)) is not None:
            return loaded
        files = await directory.find(name, version)
        with self._table.room(key, engine.max_adapters):
            await engine.load_adapter(key, files.path)
            if not await directory.unchanged(name, version, files):
                await engine.unload_adapter(key)
                raise AdapterRefused(key, "its files changed while they were read")
            if self._newest not in (None, engine):
                raise Unavailable("ENGINE_DEAD")  # the table is the next one's by now, which does not have it
            loaded = _loaded(name, version, files)
            self._table.add(loaded)
        return loaded

    async def _unload(self, engine: Engine, adapter: LoadedAdapter) -> None:
        await adapter.idle.wait()
        try:
            await engine.unload_adapter(adapter.key)
        finally:
            self._table.remove(adapter)


def _loaded(name: str, version: str, files: AdapterFiles) -> LoadedAdapter:
    now = Timestamp()
    now.GetCurrentTime()
    return LoadedAdapter(AdapterVersion(name=name, version=version, digest=files.digest), files.rank, now)


async def _once(running: dict[str, asyncio.Task[T]], key: str, work: Coroutine[Any, Any, T]) -> T:
    """Join the task of `key`, or start it with `work`. It goes on when its callers are cancelled."""
    if (task := running.get(key)) is None:
        task = running[key] = asyncio.create_task(work, name=f"adapter {key}")
        task.add_done_callback(lambda _: running.pop(key))
    else:
        work.close()
    return await asyncio.shield(task)
