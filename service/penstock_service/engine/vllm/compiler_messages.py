"""What the service and its `constraint_compiler` process tell each other.

Frames, both ways: 4 bytes of length, big endian, then JSON. The first one in is a Setup, answered when the process is
ready; then each Compile is answered, those too that a Cancel ends.
"""

import json
import struct
from collections.abc import Iterator
from typing import Any, Literal, TypedDict

HEADER = struct.Struct(">I")

Kind = Literal["json_schema", "regex", "grammar", "structural_tag"]
Outcome = Literal["accepted", "refused", "over_limits", "late", "crashed"]


class Setup(TypedDict):
    """What every compilation shares; `tokenizer_info` is what xgrammar's TokenizerInfo.serialize_json gives."""

    tokenizer_info: str
    any_whitespace: bool


class Compile(TypedDict):
    """A constraint to compile."""

    id: int
    kind: Kind
    text: str


class Cancel(TypedDict):
    """Nobody waits for this one any more."""

    cancel: int


class Answer(TypedDict):
    """What became of a Compile. The reason is xgrammar's, for "refused" only; it can be empty."""

    id: int
    outcome: Outcome
    reason: str


def framed(message: Setup | Compile | Cancel | Answer) -> bytes:
    """`message` as it travels."""
    body = json.dumps(message).encode()
    return HEADER.pack(len(body)) + body


def unframed(buffer: bytearray) -> Iterator[Any]:
    """The whole messages at the front of `buffer`, which loses them."""
    while len(buffer) >= HEADER.size:
        (length,) = HEADER.unpack_from(buffer)
        end = HEADER.size + length
        if len(buffer) < end:
            return
        body = bytes(buffer[HEADER.size : end])
        del buffer[:end]
        yield json.loads(body)
