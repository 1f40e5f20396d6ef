"""A whole answer as the one chunk of a stream."""

from __future__ import annotations

from penstock.v1.generation_pb2 import GenerateChunk, GenerateResponse, Sequence, SequenceDelta, ToolCallDelta


def one_chunk(response: GenerateResponse) -> GenerateChunk:
    """The chunk of a stream that brings the response all at once; folded, it is the response again."""
    chunk = GenerateChunk(
        id=response.id,
        model=response.model,
        request_id=response.request_id,
        deltas=[_delta(sequence) for sequence in response.sequences],
        usage=response.usage if response.HasField("usage") else None,
        timings=response.timings if response.HasField("timings") else None,
        prompt=response.prompt,
        settings=response.settings if response.HasField("settings") else None,
        adapter=response.adapter if response.HasField("adapter") else None,
    )
    if chunk.HasField("timings"):
        chunk.timings.chunk_count = 1
    return chunk


def _delta(sequence: Sequence) -> SequenceDelta:
    return SequenceDelta(
        index=sequence.index,
        text=sequence.text,
        token_ids=sequence.token_ids,
        finish=sequence.finish,
        reasoning=sequence.reasoning,
        tool_calls=[
            ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
            for index, call in enumerate(sequence.tool_calls)
        ],
        tokens=sequence.tokens,
    )
