"""OpenTelemetry attributes of a call: pure functions. No text of the caller is among them."""

from collections.abc import Iterator

from opentelemetry.util.types import AttributeValue

from penstock_service.call import Call


def call_attributes(call: Call) -> dict[str, AttributeValue]:
    """Attributes of the SERVER span."""
    service, _, method = call.method.rpartition("/")
    return {
        "rpc.system": "grpc",
        "rpc.service": service,
        "rpc.method": method,
        "rpc.grpc.status_code": call.code.value[0],
    }


def metric_attributes(call: Call) -> dict[str, AttributeValue]:
    """Attributes of the histograms. The model is the served one: a caller's invented names would make new series."""
    attributes: dict[str, AttributeValue] = {"gen_ai.operation.name": call.operation}
    if call.model:
        attributes["gen_ai.provider.name"] = call.engine
        attributes["gen_ai.request.model"] = attributes["gen_ai.response.model"] = call.model
    return attributes


def generation_attributes(call: Call) -> dict[str, AttributeValue]:
    """Attributes of the GenAI span."""
    return {**metric_attributes(call), **dict(_request_attributes(call)), **dict(_reply_attributes(call))}


def _request_attributes(call: Call) -> Iterator[tuple[str, AttributeValue]]:
    if call.request is None:
        return
    sampling, stopping = call.request.sampling, call.request.stopping
    for name in ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed"):
        if sampling.HasField(name):
            yield f"gen_ai.request.{name}", getattr(sampling, name)
    if stopping.HasField("max_tokens"):
        yield "gen_ai.request.max_tokens", stopping.max_tokens
    yield "gen_ai.request.stream", call.method.endswith("/StreamGenerate")


def _reply_attributes(call: Call) -> Iterator[tuple[str, AttributeValue]]:
    yield "gen_ai.response.id", call.id
    if call.finish_reasons:
        yield "gen_ai.response.finish_reasons", call.finish_reasons
    if call.usage is not None:
        yield "gen_ai.usage.input_tokens", call.usage.prompt_tokens
        yield "gen_ai.usage.output_tokens", call.usage.completion_tokens
        if call.usage.HasField("cached_prompt_tokens"):
            yield "gen_ai.usage.cache_read.input_tokens", call.usage.cached_prompt_tokens
    if call.timings is not None and call.timings.HasField("time_to_first_token_ms"):
        yield "gen_ai.response.time_to_first_chunk", call.timings.time_to_first_token_ms / 1000
