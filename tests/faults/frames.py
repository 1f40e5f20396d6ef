"""What an engine and its child process tell each other: Python objects over a pipe, each behind its length."""

import asyncio
import pickle
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from penstock.v1.generation_pb2 import Finish
from penstock_service.engine.base import Ending

_LENGTH = struct.Struct("!I")


class Output(NamedTuple):
    """What a job has made; with `ending` it is its last."""

    job_id: str
    text: str
    token_ids: Sequence[int]
    ending: Ending | None = None
    finish: Finish | None = None


class Report(NamedTuple):
    """What the engine tells at once."""

    steps: int  # so far
    waiting: int
    outputs: list[Output]


def framed(value: object) -> bytes:
    """The bytes of a frame."""
    body = pickle.dumps(value)
    return _LENGTH.pack(len(body)) + body


async def next_frame(reader: asyncio.StreamReader) -> Any:
    """The object of the next frame. Raises IncompleteReadError when the other end is gone."""
    (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(size))  # noqa: S301 - from a process that we started
