"""Answers that need not be generated again: a cache in this process's memory, for one client or several."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import NamedTuple

from penstock import arguments, forks
from penstock.arguments import ArgumentValueError


class _Entry(NamedTuple):
    answer: bytes
    ends: float


class Cache:
    """Keeps the latest used answers. Threads, and clients that may see each other's answers, may share it.

    max_entries: the most answers, 1 or more.
    max_bytes: the most bytes of answers, as the contract's messages; a larger one is not kept. 0 or more.
    ttl: seconds after which an answer is forgotten; above 0.
    model_ttl: seconds for which a model's name is trusted to mean the model that it meant; so long after an alias was
        switched a hit can still be the old model's. 0 or more; 0 asks the server before each use of the cache.

    Nothing outlives the process. Raises TypeError or ValueError for other values.
    """

    def __init__(
        self, max_entries: int = 1024, max_bytes: int = 64 << 20, ttl: float = 600.0, *, model_ttl: float = 5.0
    ) -> None:
        self.max_entries = _at_least(1, "max_entries", arguments.long_integer("max_entries", max_entries))
        self.max_bytes = _at_least(0, "max_bytes", arguments.long_integer("max_bytes", max_bytes))
        self.ttl = _seconds("ttl", ttl)
        if not self.ttl:
            raise ArgumentValueError("ttl", "is 0; it must be above 0")
        self.model_ttl = _seconds("model_ttl", model_ttl)
        self.renew_locks()
        forks.renew_locks_of(self)
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()  # the least recently used first
        self._bytes = 0

    def renew_locks(self) -> None:
        self._lock = threading.Lock()

    def get(self, key: bytes, now: float) -> bytes | None:
        """What was put under the key, unless it is forgotten. `now` is the caller's clock, in seconds."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if now >= entry.ends:
                self._forget(key)
                return None
            self._entries.move_to_end(key)
            return entry.answer

    def put(self, key: bytes, answer: bytes, now: float) -> None:
        """Keep the answer, and forget what there is no room for."""
        with self._lock:
            if key in self._entries:
                self._forget(key)
            if len(answer) > self.max_bytes:
                return
            self._entries[key] = _Entry(answer, now + self.ttl)
            self._bytes += len(answer)
            while len(self._entries) > self.max_entries or self._bytes > self.max_bytes:
                self._forget(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget all answers."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def __len__(self) -> int:
        """How many answers are kept, those included that are too old and that nobody has asked for since."""
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """How many bytes of answers are kept."""
        return self._bytes

    def _forget(self, key: bytes) -> None:
        self._bytes -= len(self._entries.pop(key).answer)


def _at_least(least: int, argument: str, value: int) -> int:
    if value < least:
        raise ArgumentValueError(argument, f"is {value}; it must be {least} or more")
    return value


def _seconds(argument: str, value: object) -> float:
    seconds = arguments.number(argument, value)
    if math.isnan(seconds) or seconds < 0:
        raise ArgumentValueError(argument, f"is {seconds}; it must be 0 or more")
    return seconds
