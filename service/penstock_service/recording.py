"""A generation that outlives its connection: what it has said so far, kept for those who read it.

Its own task appends to it; every reader follows at a pace of its own (`follower`).
"""

import asyncio
import time
from collections import deque
from typing import Protocol

from penstock.v1.generation_pb2 import GENERATION_PHASE_ENDED, GENERATION_PHASE_PREPARING, GenerationStatus
from penstock_service.call import Call
from penstock_service.errors import ServiceError

# What a recording takes beside its messages, and a message beside its bytes; measured, and rounded up.
_EMPTY_BYTES = 4096
_MESSAGE_BYTES = 64


class Listener(Protocol):
    """Hears what happens to a recording."""

    def heard(self) -> None:
        """There is a new message."""

    def complete(self) -> None:
        """No further message comes."""

    def overtaken(self) -> None:
        """The oldest messages are gone."""


class Recording:
    """The messages of one generation, numbered from 0, and its end. A batch is recorded as its one reply."""

    def __init__(self, call: Call, fingerprint: bytes, batch: bool) -> None:
        self.id = call.id
        self.tenant = call.tenant.name
        self.fingerprint = fingerprint
        self.batch = batch
        self.key = ""
        self.first = 0  # the oldest message that is kept
        self.size = _EMPTY_BYTES
        self.over = False
        self.error: ServiceError | None = None  # with what it ended
        self.readers: set[Listener] = set()
        self.task: asyncio.Task[ServiceError | None] | None = None
        self.grace: asyncio.TimerHandle | None = None
        self._received = call.received
        self._final: GenerationStatus | None = None
        self._messages: deque[bytes] = deque()

    @property
    def count(self) -> int:
        """The number of the next message."""
        return self.first + len(self._messages)

    @property
    def spare_bytes(self) -> int:
        """How many could be freed: all but the newest message, which readers who keep up have still to take."""
        newest = _MESSAGE_BYTES + len(self._messages[-1]) if self._messages else 0
        return self.size - _EMPTY_BYTES - newest

    def message(self, number: int) -> bytes:
        """One of the messages that are kept."""
        return self._messages[number - self.first]

    def append(self, message: bytes) -> int:
        """Add the next message; by how much that makes the recording grow."""
        self._messages.append(message)
        grown = _MESSAGE_BYTES + len(message)
        self.size += grown
        for reader in tuple(self.readers):
            reader.heard()
        return grown

    def drop(self, most_bytes: int) -> int:
        """Drop the oldest messages until the rest has `most_bytes`, or is the newest one; how much that frees."""
        before = self.size
        while self.size > most_bytes and len(self._messages) > 1:
            self.size -= _MESSAGE_BYTES + len(self._messages.popleft())
            self.first += 1
        if self.size < before:
            for reader in tuple(self.readers):
                reader.overtaken()
        return before - self.size

    def end(self, error: ServiceError | None, status: GenerationStatus | None) -> None:
        """Nothing more comes; `status` is where the generation was last seen."""
        self._final = status or self.status()
        self._final.phase = GENERATION_PHASE_ENDED
        self.over, self.error = True, error
        for reader in tuple(self.readers):
            reader.complete()

    def end_grace(self) -> None:
        """Nobody is waited for, or longer: the timer would hold on to all that is kept."""
        if self.grace is not None:
            self.grace.cancel()
            self.grace = None

    def status(self) -> GenerationStatus:
        """Where it is, as far as that can be told from here."""
        if self._final is not None:
            return self._final
        elapsed = 1000 * (time.monotonic() - self._received)
        return GenerationStatus(id=self.id, phase=GENERATION_PHASE_PREPARING, elapsed_ms=elapsed)
