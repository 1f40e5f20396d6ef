"""Carries out a plan with our client, its retries and its resuming on: what arrives must be the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc

from penstock import APIError, Reply
from penstock.v1 import generation_pb2 as pb
from tests.faults.history import ClientCall, End, Message
from tests.faults.paths import Path
from tests.faults.plans import Plan, sentence


async def call_by_client(
    plan: Plan, path: Path, begun: Callable[..., ClientCall], ended: Callable[[ClientCall], None]
) -> None:
    """Ask for a stream or a whole answer."""
    prompt, seed, tokens = sentence(plan.rng), plan.rng.getrandbits(31), plan.request.stopping.max_tokens
    stopping = {"max_tokens": tokens, "ignore_eos": True}
    call = begun("client", path, pb.GenerateRequest(prompt=prompt, sampling={"seed": seed}, stopping=stopping))
    options: dict[str, Any] = {**stopping, "seed": seed, "return_token_ids": True}
    try:
        if plan.rng.random() < 0.5:
            reply = await path.client.stream(prompt, **options).reply()
        else:
            reply = await path.client.generate(prompt, **options)
    except APIError as error:
        call.ends.append(End(time.monotonic(), error.status, type(error).__name__, str(error)))
    else:
        _note(call, reply)
    ended(call)


def _note(call: ClientCall, reply: Reply) -> None:
    """What came; a stream that another engine went on with is another text from there on."""
    usage = (reply.usage.prompt_tokens, reply.usage.completion_tokens)
    (sequence,) = reply.proto.sequences
    tokens = tuple(sequence.token_ids)
    if reply.continued:
        call.expected = None
    else:
        call.messages.append(Message(time.monotonic(), 0, 0, tokens, sequence.text, sequence.finish.reason, usage))
    call.ends.append(End(time.monotonic(), grpc.StatusCode.OK))
