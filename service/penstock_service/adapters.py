"""Which adapters are loaded, which calls use them, and what names mean. Pure: no I/O, and no clock of its own.

A version that is being unloaded has left the names at once, and is gone when the last call that uses it has ended.
Calls hold the version they began with, so that an alias can move under them.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from google.protobuf.timestamp_pb2 import Timestamp

from penstock.v1.generation_pb2 import AdapterVersion
from penstock.v1.models_pb2 import Adapter, Alias, Model
from penstock_service.adapter_directory import key_of
from penstock_service.errors import (
    AdapterInUse,
    AdapterNotFound,
    AdaptersFull,
    InvalidRequest,
    ModelNotFound,
    Violation,
)

MOST_ALIASES = 1024
_ALIAS = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_NAMED_ADAPTERS = 16  # in an error's text: the trailing metadata has a limit


class LoadedAdapter:
    """A version that the engine has, and how many calls use it."""

    def __init__(self, version: AdapterVersion, rank: int, load_time: Timestamp) -> None:
        self.version = version
        self.key = key_of(version.name, version.version)
        self.idle = asyncio.Event()  # no call uses it
        self.idle.set()
        self.gone = asyncio.Event()  # it is unloaded
        self._rank = rank
        self._load_time = load_time
        self._running = 0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep it loaded meanwhile."""
        self._running += 1
        self.idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self.idle.set()

    def description(self) -> Adapter:
        """The contract's message about it."""
        version = self.version
        return Adapter(
            name=version.name,
            version=version.version,
            digest=version.digest,
            rank=self._rank,
            load_time=self._load_time,
            running_calls=self._running,
        )


class AdapterTable:
    """The loaded adapters of one model and the aliases."""

    def __init__(self) -> None:
        self._loaded: dict[str, LoadedAdapter] = {}
        self._leaving: dict[str, LoadedAdapter] = {}
        self._coming: set[str] = set()
        self._aliases: dict[str, str] = {}

    # What calls ask.

    def resolve(self, name: str, model: Model) -> LoadedAdapter | None:
        """The adapter that a request's `model` means; None for the model itself. Raises ModelNotFound."""
        target = self._aliases.get(name, name)
        if target in ("", model.name, *model.aliases):
            return None
        if (adapter := self._loaded.get(target)) is None:
            raise ModelNotFound(name, [model.name, *islice(self._loaded, _MOST_NAMED_ADAPTERS)])
        return adapter

    @contextmanager
    def using(self, name: str, model: Model) -> Iterator[LoadedAdapter | None]:
        """`resolve`, and keep the adapter loaded meanwhile."""
        adapter = self.resolve(name, model)
        if adapter is None:
            yield None
            return
        with adapter.in_use():
            yield adapter

    def described(self, model: Model) -> Model:
        """A copy of `model` with its adapters and aliases."""
        described = Model()
        described.CopyFrom(model)
        described.adapters.extend(adapter.description() for adapter in self._loaded.values())
        described.adapter_aliases.extend(Alias(name=name, target=means) for name, means in self._aliases.items())
        return described

    def loaded(self) -> tuple[LoadedAdapter, ...]:
        """All that calls find."""
        return tuple(self._loaded.values())

    # What changes it.

    def find(self, key: str) -> LoadedAdapter | None:
        """The version if it is loaded."""
        return self._loaded.get(key)

    def leaving(self, key: str) -> LoadedAdapter | None:
        """The version if it is being unloaded."""
        return self._leaving.get(key)

    @contextmanager
    def room(self, key: str, most: int) -> Iterator[None]:
        """Keep a place for a version while the engine loads it, until `add`. Raises AdaptersFull."""
        if len(self._loaded) + len(self._leaving) + len(self._coming) >= most:
            raise AdaptersFull(most)
        self._coming.add(key)
        try:
            yield
        finally:
            self._coming.discard(key)

    def add(self, adapter: LoadedAdapter) -> None:
        """Calls find it from now on."""
        self._loaded[adapter.key] = adapter

    def retire(self, key: str) -> LoadedAdapter:
        """Calls find it no more; `idle` tells when the last one has ended. Raises AdapterNotFound and AdapterInUse."""
        if key not in self._loaded:
            raise AdapterNotFound(key)
        if aliases := [alias for alias, target in self._aliases.items() if target == key]:
            raise AdapterInUse(key, aliases[0])
        self._leaving[key] = self._loaded.pop(key)
        return self._leaving[key]

    def remove(self, adapter: LoadedAdapter) -> None:
        """The engine has it no more; its place is free."""
        del self._leaving[adapter.key]
        adapter.gone.set()

    def forget(self, key: str) -> None:
        """The engine has lost the version: calls find neither it nor its aliases."""
        self._aliases = {alias: target for alias, target in self._aliases.items() if target != key}
        self._loaded.pop(key).gone.set()

    def set_alias(self, alias: str, target: str, model: Model) -> str:
        """Make `alias` mean what `target` means now, or nothing if that is empty; return what it meant, or "".

        Raises InvalidRequest for the alias, and ModelNotFound for a target that is neither the model nor loaded.
        """
        self._check_alias(alias, model)
        if not target:
            return self._aliases.pop(alias, "")
        self.resolve(target, model)
        if alias not in self._aliases and len(self._aliases) >= MOST_ALIASES:
            raise InvalidRequest([Violation("alias", f"there are {MOST_ALIASES} already; remove one first")])
        previous = self._aliases.get(alias, "")
        self._aliases[alias] = self._aliases.get(target, target)
        return previous

    def _check_alias(self, alias: str, model: Model) -> None:
        if not _ALIAS.fullmatch(alias):
            got = repr(alias) if len(alias) <= 64 else f"{len(alias)} characters"
            raise InvalidRequest([Violation("alias", f"must be 1 to 64 of A-Z a-z 0-9 . _ -, got {got}")])
        if alias in (model.name, *model.aliases):
            raise InvalidRequest([Violation("alias", f"must not be a model's own name, got {alias!r}")])
