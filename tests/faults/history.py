"""What both ends know of a load's calls: the records that `checker` judges. No I/O.

A call is known to both ends by its trace id, which the caller chooses and the server writes into its log line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc

from penstock.v1.generation_pb2 import FINISH_REASON_UNSPECIFIED, GenerateChunk, GenerateRequest
from penstock_service.engine.simulated_text import SimulatedSequence

TRACE_DIGITS = 32
_OWN_DIGITS = 12  # a trace id of ours begins with zeros, one made by chance does not


class Expected(NamedTuple):
    """What the simulated engine makes of a request, by its own function."""

    prompt_tokens: int
    tokens: tuple[int, ...]
    text: str
    finish: int

    @classmethod
    def of(cls, request: GenerateRequest, context_length: int) -> Expected:
        sequence = SimulatedSequence(request, context_length)
        while sequence.finish is None:
            sequence.advance()
        text, tokens = sequence.take()
        wanted = request.response.text or not request.response.HasField("text")
        return cls(sequence.prompt_tokens, tuple(tokens), text if wanted else "", sequence.finish.reason)


class Message(NamedTuple):
    """A chunk as it arrived, or a unary answer as the only one."""

    seconds: float
    seq: int
    first: int  # index of the first of `tokens` in the generation
    tokens: tuple[int, ...]
    text: str
    finish: int  # FINISH_REASON_UNSPECIFIED: none
    usage: tuple[int, int] | None  # prompt and completion tokens


class End(NamedTuple):
    """A terminal status as the caller sees it. `reason` is empty where gRPC made it, and for OK.

    `pushback` is what gRPC's own retries obey (the trailer grpc-retry-pushback-ms).
    """

    seconds: float
    code: grpc.StatusCode
    reason: str = ""
    text: str = ""
    pushback: str = ""

    @property
    def ours(self) -> bool:
        """Whether the service said so, and not gRPC at either end."""
        return self.code is grpc.StatusCode.OK or bool(self.reason)


@dataclass
class ClientCall:
    """One call from its sending to its end, and what its caller did to it meanwhile."""

    trace: str
    kind: str
    path: str = "direct"  # or the name of a proxy that faults go through
    expected: Expected | None = None  # None where no output is expected
    first_seq: int = 0  # of what is read; more than 0 for what is read again
    first_token: int = 0
    first_finish: int = FINISH_REASON_UNSPECIFIED  # what was read before told that already
    deadline: float | None = None
    partial: bool = False  # at the generation's deadline what there is was asked for
    disturbed: bool = False  # its path was, while it ran or shortly before
    cancelled: bool = False
    inputs: int = 0  # of a batch
    carrier_broke: bool = False  # it ended with the session that carried it
    sent: float = 0.0
    messages: list[Message] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    after_end: int = 0  # messages that came after an end

    def add(self, chunk: GenerateChunk, seconds: float) -> None:
        """Note a chunk."""
        self.after_end += bool(self.ends)
        (delta,) = chunk.deltas
        usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens) if chunk.HasField("usage") else None
        finish = delta.finish.reason if delta.HasField("finish") else FINISH_REASON_UNSPECIFIED
        tokens = tuple(delta.token_ids)
        self.messages.append(Message(seconds, chunk.seq, self.tokens, tokens, delta.text, finish, usage))

    @property
    def tokens(self) -> int:
        """The index of the next token."""
        last = self.messages[-1] if self.messages else None
        return last.first + len(last.tokens) if last else self.first_token

    @property
    def course(self) -> str:
        """When its messages and its end came, in seconds from its sending on, for who looks into a break."""
        messages = ", ".join(f"{message.seq} at {message.seconds - self.sent:.3f}" for message in self.messages[-3:])
        ends = ", ".join(f"{end.code.name} {end.reason} at {end.seconds - self.sent:.3f}" for end in self.ends)
        return f"deadline {self.deadline}, last messages {messages or 'none'}, ended {ends or 'never'}"

    @property
    def finish(self) -> int:
        """The finish that its caller knows of."""
        return (self.messages[-1].finish if self.messages else 0) or self.first_finish


class ServerCall(NamedTuple):
    """A line of the server's log about a call that has ended."""

    trace: str
    id: str
    code: str
    reason: str
    batch: str  # id of the call whose input it is
    generation: str  # id of the generation that it reads without owning it
    line: Mapping[str, Any]  # all of it

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> ServerCall:
        names = ("trace_id", "id", "code", "reason", "batch", "generation")
        return cls(*(line.get(name, "") for name in names), line)


@dataclass
class ServerLog:
    """What the server wrote since the last look: calls by traces, and how many inputs of each batch have ended."""

    calls: dict[str, list[ServerCall]] = field(default_factory=dict)
    inputs: Counter[str] = field(default_factory=Counter)
    suspicious: list[str] = field(default_factory=list)

    def add(self, line: Mapping[str, Any]) -> None:
        """Note the line of a call that is one of the load's own."""
        call = ServerCall.of(line)
        if call.batch:
            self.inputs[call.batch] += 1
        elif call.trace.startswith("0" * _OWN_DIGITS):
            self.calls.setdefault(call.trace, []).append(call)

    def of_rpc(self, trace: str) -> list[ServerCall]:
        """The lines of the RPC itself, and not of the generation that it only reads."""
        lines = self.calls.get(trace, [])
        return [line for line in lines if line.generation] or lines

    def clear(self) -> None:
        """Begin anew."""
        self.calls.clear()
        self.inputs.clear()
        self.suspicious.clear()


def trace_of(number: int) -> str:
    """The trace id of the load's call of that number, from 1 on."""
    return f"{number:0{TRACE_DIGITS}x}"


def traceparent(trace: str) -> str:
    """The W3C header that carries it."""
    return f"00-{trace}-{trace[-16:]}-01"


def tokens_of(calls: Iterable[ClientCall]) -> int:
    """How many tokens arrived."""
    return sum(len(message.tokens) for call in calls for message in call.messages)
