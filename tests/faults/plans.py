"""What the callers of the chaos run do: each plan is a function of the seed and of the call's number. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from penstock.v1 import generation_pb2 as pb

MOST_TOKENS = 34
UNREAD_TOKENS = 3000
MOST_MESSAGE_BYTES = 1 << 16

# How often each kind comes, of a hundred.
_KINDS = {
    "generate": 24,
    "stream": 27,
    "session": 3,  # each of up to 16 calls
    "resumable": 11,
    "batch": 6,
    "same key": 6,
    "bad": 8,
    "unread": 1,
    "client": 8,
    "lookup": 6,
}
BAD = ("no input", "max_tokens", "model", "temperature", "too long", "key", "too large", "bytes", "resume", "batch")
_WORDS = ("river", "gate", "turbine", "water", "head", "pipe", "level", "valve", "spill", "night", "水", "ключ", "👋")


@dataclass(frozen=True)
class Plan:
    """One thing that a caller does. Cancelling comes after so many chunks or seconds, whichever is set."""

    kind: str
    rng: Random = field(repr=False)
    number: int
    request: pb.GenerateRequest = field(repr=False)
    path: int  # 0 is direct; the proxies follow
    deadline: float | None = None
    cancel_after_chunks: int | None = None
    cancel_after_seconds: float | None = None
    bad: str = ""


def plan_of(seed: int, number: int, paths: int) -> Plan:
    """The plan of a call, over one of so many paths."""
    rng = Random(f"{seed} {number}")
    (kind,) = rng.choices(list(_KINDS), list(_KINDS.values()))
    request = request_of(rng)
    deadline = rng.uniform(0.001, 0.2) if rng.random() < 0.1 else None
    if deadline is not None and rng.random() < 0.3:
        request.on_deadline = pb.ON_DEADLINE_RETURN_PARTIAL
    if kind == "unread":
        request.stopping.max_tokens, request.stopping.ignore_eos = UNREAD_TOKENS, True
    chunks = seconds = None
    if rng.random() < 0.12:
        chunks, seconds = (rng.choice((0, 1, 2, 5)), None) if rng.random() < 0.5 else (None, rng.uniform(0, 0.1))
    bad = rng.choice(BAD) if kind == "bad" else ""
    return Plan(kind, rng, number, request, rng.randrange(paths), deadline, chunks, seconds, bad)


def plain_plan(seed: int, number: int, kind: str) -> Plan:
    """A plan that nothing disturbs, over the direct path."""
    rng = Random(f"{seed} {number} plain")
    return Plan(kind, rng, number, request_of(rng), 0)


def request_of(rng: Random) -> pb.GenerateRequest:
    """A small request."""
    request = pb.GenerateRequest(
        sampling={"seed": rng.getrandbits(32)},
        stopping={"max_tokens": rng.choice((1, 2, 3, 5, 8, 13, 21, MOST_TOKENS)), "ignore_eos": rng.random() < 0.5},
        response={"token_ids": True, "text": rng.random() < 0.9},
        priority=rng.choice((0, 0, 0, 1, -1)),
    )
    if rng.random() < 0.3:
        request.response.max_delay_ms = rng.choice((0, 1, 20, 50))
    match rng.randrange(4):
        case 0:
            request.token_ids.ids.extend(rng.randrange(1, 4000) for _ in range(rng.randint(1, 40)))
        case 1:
            message = request.conversation.messages.add(role=pb.ROLE_USER)
            message.content.add(text=sentence(rng))
        case _:
            request.prompt = sentence(rng)
    return request


def batched(rng: Random) -> pb.GenerateRequest:
    """A request with several inputs."""
    request = request_of(rng)
    request.batch.inputs.extend(pb.BatchInput(prompt=sentence(rng)) for _ in range(rng.randint(1, 5)))
    return request


def inputs_of(request: pb.GenerateRequest) -> list[pb.GenerateRequest]:
    """Each input of a batch as the request that it means."""
    alone = []
    for each in request.batch.inputs:
        one = pb.GenerateRequest()
        one.CopyFrom(request)
        one.prompt = each.prompt
        alone.append(one)
    return alone


def bad_request(bad: str, rng: Random) -> pb.GenerateRequest:
    """A request that the service must refuse."""
    request = request_of(rng)
    request.prompt = "Hello"
    match bad:
        case "no input":
            request.ClearField("prompt")
        case "max_tokens":
            request.stopping.max_tokens = -1
        case "model":
            request.model = "no such model"
        case "temperature":
            request.sampling.temperature = float("nan")
        case "too long":
            request.prompt = "x" * (MOST_MESSAGE_BYTES // 2)
        case "key":
            request.idempotency_key = "not a key!\r\n"
        case "too large":
            request.prompt = "x" * (2 * MOST_MESSAGE_BYTES)
        case "batch":
            request.batch.inputs.add(prompt="Hello")
    return request


def sentence(rng: Random) -> str:
    """Some words."""
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, 20)))
