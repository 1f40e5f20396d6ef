"""OpenTelemetry's attributes of a call, by its conventions for generative AI. Pure; imports no OpenTelemetry itself."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.events import CallEnded, CallStarted, FirstOutput, Hedged, Resumed, Retried, TimedOut
from penstock.v1.generation_pb2 import EmbedRequest, GenerateRequest

Value = str | bool | int | float | tuple[str, ...]

# Not one of the conventions' own names: what serves the model behind the server is not known here.
PROVIDER = "penstock"


def operation(call: CallStarted) -> str | None:
    """The conventions' name of what the call does; None if it has none, and so neither span nor metrics."""
    if isinstance(call.request, EmbedRequest):
        return "embeddings"
    if not isinstance(call.request, GenerateRequest):
        return None
    inputs = call.request.batch.inputs or [call.request]
    return "chat" if inputs[0].WhichOneof("input") == "conversation" else "text_completion"


def start_attributes(call: CallStarted) -> dict[str, Value]:
    """The span's attributes at its start; empty if the call is none of generative AI."""
    name = operation(call)
    if name is None:
        return {}
    attributes: dict[str, Value] = {"gen_ai.operation.name": name, "gen_ai.provider.name": PROVIDER}
    if call.model:
        attributes["gen_ai.request.model"] = call.model
    if isinstance(call.request, GenerateRequest):
        attributes.update(_generate_attributes(call.request))
        attributes["gen_ai.request.stream"] = call.method == "StreamGenerate"
    elif isinstance(call.request, EmbedRequest) and call.request.HasField("dimensions"):
        attributes["gen_ai.embeddings.dimension.count"] = call.request.dimensions
    return attributes


def _generate_attributes(request: GenerateRequest) -> Iterator[tuple[str, Value]]:
    sampling, stopping = request.sampling, request.stopping
    for name in ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed"):
        if sampling.HasField(name):
            yield f"gen_ai.request.{name}", getattr(sampling, name)
    if stopping.HasField("max_tokens"):
        yield "gen_ai.request.max_tokens", stopping.max_tokens
    if request.num_sequences > 1:
        yield "gen_ai.request.choice.count", request.num_sequences


def end_attributes(end: CallEnded) -> dict[str, Value]:
    """What the span gets at its end."""
    return {**_where(end), **dict(_reply_attributes(end))}


def _reply_attributes(end: CallEnded) -> Iterator[tuple[str, Value]]:
    if end.response_id:
        yield "gen_ai.response.id", end.response_id
    if end.response_model:
        yield "gen_ai.response.model", end.response_model
    if end.finish_reasons:
        yield "gen_ai.response.finish_reasons", end.finish_reasons
    if end.first_token_seconds is not None:
        yield "gen_ai.response.time_to_first_chunk", end.first_token_seconds
    if end.prompt_tokens is not None:
        yield "gen_ai.usage.input_tokens", end.prompt_tokens
    if end.completion_tokens is not None:
        yield "gen_ai.usage.output_tokens", end.completion_tokens
    kind = error_type(end)
    if kind:
        yield "error.type", kind
    if end.attempts > 1:
        yield "penstock.resilience.attempts", end.attempts


def metric_attributes(end: CallEnded) -> dict[str, Value]:
    """Attributes of the histograms."""
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": operation(end.call) or "",
        "gen_ai.provider.name": PROVIDER,
    }
    if end.call.model:
        attributes["gen_ai.request.model"] = end.call.model
    if end.response_model:
        attributes["gen_ai.response.model"] = end.response_model
    return {**attributes, **_where(end)}


def error_type(end: CallEnded) -> str | None:
    """The server's own reason, else the name of the gRPC status; None if all went well."""
    return (end.error.reason or end.error.status.name) if end.error is not None else None


def event_attributes(event: FirstOutput | Retried | Hedged | Resumed | TimedOut) -> dict[str, Value]:
    """What a span's event says."""
    attributes: dict[str, Value] = {"penstock.endpoint": event.endpoint} if event.endpoint else {}
    if isinstance(event, Retried):
        attributes.update({"penstock.attempt": event.attempt, "penstock.delay": event.delay})
    elif isinstance(event, Resumed):
        attributes.update({"penstock.resume.kind": event.kind, "penstock.resume.next_seq": event.next_seq})
    elif isinstance(event, TimedOut):
        attributes.update({"penstock.timeout.kind": event.kind, "penstock.timeout.limit": event.limit})
    if isinstance(event, (Retried, Resumed)):
        attributes["error.type"] = event.error.reason or event.error.status.name
    return attributes


def _where(end: CallEnded) -> dict[str, Value]:
    """The endpoint, "host:port" or whatever else gRPC dials."""
    if not end.endpoint:
        return {}
    address, _, port = end.endpoint.rpartition(":")
    if not address or not port.isdigit():
        return {"server.address": end.endpoint}
    return {"server.address": address.strip("[]"), "server.port": int(port)}
