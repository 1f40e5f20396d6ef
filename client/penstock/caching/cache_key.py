"""Which requests have an answer that can be used again, and which of them have the same one. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from penstock.v1.generation_pb2 import (
    BatchInput,
    Conversation,
    FinishReason,
    GenerateRequest,
    GenerateResponse,
    OnDeadline,
    ResponseOptions,
)

# The fields that say how an answer travels, and nothing about what is in it. All others are part of the key, cache_salt
# too: whoever sends another salt is not to learn what was asked under this one.
IN_NO_KEY: dict[str, frozenset[str]] = {
    GenerateRequest.DESCRIPTOR.full_name: frozenset(
        {"priority", "on_deadline", "resumable", "idempotency_key", "request_id"}
    ),
    ResponseOptions.DESCRIPTOR.full_name: frozenset({"max_delay_ms"}),
}

_TRACING = frozenset({"traceparent", "tracestate", "baggage"})
_WHOLE = frozenset({FinishReason.FINISH_REASON_STOP, FinishReason.FINISH_REASON_TOOL_CALLS})


def request_key(request: GenerateRequest, model: bytes, metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """The same 32 bytes for requests that the same model answers alike.

    model: what tells the model from others, other versions of it included.
    metadata: that of the call, which can say on whose behalf it is; trace contexts are left out.
    """
    bare = GenerateRequest()
    bare.CopyFrom(request)
    for message in (bare, bare.response):
        for field in IN_NO_KEY[message.DESCRIPTOR.full_name]:
            message.ClearField(field)
    if not bare.response.ListFields():
        bare.ClearField("response")
    digest = hashlib.sha256()
    for part in (model, bare.SerializeToString(deterministic=True), *_senders(metadata)):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def repeatable(request: GenerateRequest) -> bool:
    """Whether the same request, sent again, asks for the same answer: it is greedy or has a seed.

    Not if it measures the server, nor if a part of it is fetched from an address, where something else may be by then.
    """
    sampling = request.sampling
    greedy = sampling.HasField("temperature") and sampling.temperature == 0
    if not greedy and not sampling.HasField("seed"):
        return False
    return not request.bypass_prefix_cache and not _fetches(request)


def shareable(request: GenerateRequest) -> bool:
    """Whether an identical call can have the same answer while it is made: not if its own deadline cuts that short."""
    return request.on_deadline != OnDeadline.ON_DEADLINE_RETURN_PARTIAL


def whole(response: GenerateResponse) -> bool:
    """Whether the answer is worth keeping: every sequence came to an end of its own."""
    sequences = response.sequences
    return bool(sequences) and all(sequence.finish.reason in _WHOLE for sequence in sequences)


def _senders(metadata: Iterable[tuple[str, str | bytes]]) -> list[bytes]:
    pairs = ((key, value) for key, value in metadata if key not in _TRACING)
    return [
        part
        for key, value in sorted(pairs, key=lambda pair: pair[0])
        for part in (key.encode(), value if isinstance(value, bytes) else value.encode())
    ]


def _fetches(request: GenerateRequest | BatchInput) -> bool:
    which = request.WhichOneof("input")
    if which == "conversation":
        return _has_addresses(request.conversation)
    if isinstance(request, GenerateRequest) and which == "batch":
        return any(map(_fetches, request.batch.inputs))
    return False


def _has_addresses(conversation: Conversation) -> bool:
    return any(
        part.WhichOneof("part") in ("image", "audio") and (part.image.url or part.audio.url)
        for message in conversation.messages
        for part in message.content
    )
