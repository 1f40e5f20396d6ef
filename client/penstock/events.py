"""What happens in a client, as `client.on` tells it (penstock.hooks)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from penstock.errors import APIError


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Something that happened. Each kind has a `name`, which is what `client.on` takes."""

    name: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, eq=False)
class CallStarted(Event):
    """ "start": the caller asked for something. Its later events carry this object as `call`.

    method: the RPC's name in the contract: "Generate", "StreamGenerate", "Embed", ...
    model: as asked for; empty for the server's default.
    tier: the tier of its limits; None without one.
    request: the message itself, with all the caller's text in it. Not to be changed.
    """

    name: ClassVar[str] = "start"
    method: str
    model: str = ""
    tier: str | None = None
    request: Message | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class FirstOutput(Event):
    """ "first_output": the first chunk of a stream is here, `seconds` after its start. Nothing is retried after it."""

    name: ClassVar[str] = "first_output"
    call: CallStarted
    seconds: float
    endpoint: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Retried(Event):
    """ "retry": attempt number `attempt` (2 is the first retry) begins `delay` seconds from now, since `error` came."""

    name: ClassVar[str] = "retry"
    call: CallStarted
    attempt: int
    delay: float
    error: APIError
    endpoint: str = ""  # where the failed attempt was


@dataclass(frozen=True, slots=True, eq=False)
class Hedged(Event):
    """ "hedge": no chunk came for `waited` seconds, so a copy of the request goes to `endpoint`."""

    name: ClassVar[str] = "hedge"
    call: CallStarted
    waited: float
    endpoint: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Resumed(Event):
    """ "resume": a broken stream goes on.

    kind: "resume" where the same generation is read on, "continuation" where another replica goes on from the tokens.
    next_seq: the number of chunks that had come.
    """

    name: ClassVar[str] = "resume"
    call: CallStarted
    kind: str
    next_seq: int
    error: APIError
    endpoint: str = ""  # where it goes on


@dataclass(frozen=True, slots=True, eq=False)
class Slow(Event):
    """ "slow": the first token took more than three times the 95th percentile of the calls like it before."""

    name: ClassVar[str] = "slow"
    call: CallStarted
    first_token_seconds: float
    usual_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class TimedOut(Event):
    """ "timeout": a limit passed. kind: "total", "connect", "first_token" or "idle"; limit: in seconds."""

    name: ClassVar[str] = "timeout"
    call: CallStarted
    kind: str
    limit: float
    endpoint: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CallEnded(Event):
    """ "end": a call is over, once for each "start".

    error: what the caller was given; None if all went well. A stream that was left early has RequestCancelled.
    seconds: from its start to its end.
    first_token_seconds: from its start to the first chunk; None for other calls than streams, or if none came.
    gaps: seconds between chunks that followed each other, at most 128 of them.
    chunks: how many came.
    completion_tokens, prompt_tokens: by the server's count; None if it sent none.
    attempts: how many were made, hedges included.
    endpoint: where the last of them was.
    response_id, response_model, finish_reasons: what the reply says; empty if it says nothing.
    """

    name: ClassVar[str] = "end"
    call: CallStarted
    seconds: float
    error: APIError | None = None
    first_token_seconds: float | None = None
    gaps: tuple[float, ...] = ()
    chunks: int = 0
    completion_tokens: int | None = None
    prompt_tokens: int | None = None
    attempts: int = 1
    endpoint: str = ""
    response_id: str = ""
    response_model: str = ""
    finish_reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class EndpointEjected(Event):
    """ "eject": after `failures` failures in a row nothing is sent to `endpoint` for `seconds`."""

    name: ClassVar[str] = "eject"
    endpoint: str
    failures: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class EndpointRestored(Event):
    """ "restore": an ejected `endpoint` is used again."""

    name: ClassVar[str] = "restore"
    endpoint: str


@dataclass(frozen=True, slots=True, eq=False)
class CacheHit(Event):
    """ "cache_hit": an answer came from the cache, or (`shared`) from an identical call that was under way."""

    name: ClassVar[str] = "cache_hit"
    method: str
    model: str = ""
    tier: str | None = None
    shared: bool = False


EVENTS: dict[str, type[Event]] = {
    kind.name: kind
    for kind in (
        CallStarted,
        FirstOutput,
        Retried,
        Hedged,
        Resumed,
        Slow,
        TimedOut,
        CallEnded,
        EndpointEjected,
        EndpointRestored,
        CacheHit,
    )
}
