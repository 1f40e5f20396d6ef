"""A whole generation as the reply of a unary call. Pure."""

from penstock.v1.generation_pb2 import GenerateChunk, GenerateResponse, Sequence, SequenceDelta, ToolCall


def response_of(chunk: GenerateChunk) -> GenerateResponse:
    """The reply for a generation that is all in one chunk."""
    response = GenerateResponse(
        id=chunk.id,
        model=chunk.model,
        sequences=[_sequence(delta) for delta in chunk.deltas],
        usage=chunk.usage,
        timings=chunk.timings,
        request_id=chunk.request_id,
        prompt=chunk.prompt,
    )
    for name in ("settings", "adapter"):
        if chunk.HasField(name):
            getattr(response, name).CopyFrom(getattr(chunk, name))
    return response


def _sequence(delta: SequenceDelta) -> Sequence:
    calls = (ToolCall(id=call.id, name=call.name, arguments=call.arguments) for call in delta.tool_calls)
    return Sequence(
        index=delta.index,
        text=delta.text,
        token_ids=delta.token_ids,
        finish=delta.finish,
        reasoning=delta.reasoning,
        tool_calls=calls,
        tokens=delta.tokens,
    )
