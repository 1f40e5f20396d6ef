"""Where a generation is: `client.status(id)`, `stream.status()`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from penstock import arguments
from penstock.arguments import ArgumentValueError
from penstock.v1.generation_pb2 import GenerateRequest, GenerationPhase, GetGenerationRequest
from penstock.v1.generation_pb2 import GenerationStatus as GenerationStatusProto

Phase = Literal["unspecified", "preparing", "queued", "prefill", "decoding", "ended"]


@dataclass(frozen=True, slots=True)
class GenerationStatus:
    """Where a generation is, by its server's word.

    id: the server's own id of it.
    phase: "preparing" (checked and tokenized), "queued" (waits for room), "prefill" (the prompt is read), "decoding"
        (tokens come) or "ended"; "unspecified" from a server that has further ones.
    queue_position: how many others are taken before it; None unless it is queued.
    completion_tokens: generated so far, over all sequences.
    elapsed_s: seconds since its admission.
    wait_s: seconds that its first token is likely to take from now on; None once it is there, or if nobody can tell.
    """

    id: str
    phase: Phase
    queue_position: int | None
    completion_tokens: int
    elapsed_s: float
    wait_s: float | None


def status_request(
    generation_id: str | None = None, *, idempotency_key: str | None = None, request_id: str | None = None
) -> GetGenerationRequest:
    """What asks about the generation of that name. TypeError or ValueError unless exactly one is given."""
    named = {"id": generation_id, "idempotency_key": idempotency_key, "request_id": request_id}
    given = {name: arguments.text(name, value) for name, value in named.items() if value is not None}
    if len(given) != 1:
        raise ArgumentValueError(
            "id", f"or idempotency_key or request_id must be given, and only one; {len(given)} are"
        )
    ((name, value),) = given.items()
    if not value:
        raise ArgumentValueError(name, "is empty")
    return GetGenerationRequest(**given)


def stream_status_request(generation_id: str, request: GenerateRequest) -> GetGenerationRequest:
    """What asks about a stream: by the id of its first chunk, or until that is there by a name of its request."""
    if generation_id:
        return GetGenerationRequest(id=generation_id)
    if request.idempotency_key:
        return GetGenerationRequest(idempotency_key=request.idempotency_key)
    if request.request_id:
        return GetGenerationRequest(request_id=request.request_id)
    raise ArgumentValueError("request_id", "is needed to ask about a stream before its first chunk")


def generation_status(proto: GenerationStatusProto) -> GenerationStatus:
    """What the server said."""
    names = GenerationPhase.DESCRIPTOR.values_by_number
    known = names.get(proto.phase, names[0]).name.removeprefix("GENERATION_PHASE_").lower()
    return GenerationStatus(
        id=proto.id,
        phase=cast("Phase", known),
        queue_position=proto.queue_position if known == "queued" else None,
        completion_tokens=proto.completion_tokens,
        elapsed_s=proto.elapsed_ms / 1000,
        wait_s=proto.wait_ms / 1000 if proto.HasField("wait_ms") else None,
    )
