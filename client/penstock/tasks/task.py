"""A generation that a state file keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from penstock.accumulate import Accumulator
from penstock.reply import Reply
from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest

TaskState = Literal["running", "interrupted"]


@dataclass(frozen=True, slots=True)
class Task:
    """A streamed generation that has not been read to its end.

    state: "running" while a stream of a live process reads it, else "interrupted".
    request: what was asked for.
    next_seq: how many chunks are kept; the stream may have given its reader some more.
    received: those chunks, one after the other.
    created, deadline: in seconds since 1970; the deadline is None if there was none.
    tier: the tier of its limits.
    token: where to read on, for `client.resume`; empty before the first chunk.
    error: how it was interrupted, in a sentence; None while it runs, or if its process ended.
    """

    id: str
    state: TaskState
    request: GenerateRequest = field(repr=False)
    next_seq: int
    received: bytes = field(repr=False)
    created: float
    deadline: float | None
    tier: str | None
    token: str = field(repr=False)
    error: str | None

    @property
    def partial(self) -> Reply:
        """What is kept of the answer; its finish_reason is None."""
        merged = GenerateChunk.FromString(self.received)
        merged.seq = 0
        received = Accumulator()
        received.add(merged)
        return received.reply()
