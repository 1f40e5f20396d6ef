"""Puts chunks together in the order that the contract fixes: identity first, usage and timings last."""

from collections.abc import Iterable

from penstock.v1.generation_pb2 import Finish, GenerateChunk, SequenceDelta, Timings, Usage
from penstock_service.engine.base import Generation


class ChunkSequence:
    """The chunks of one generation, numbered from 0."""

    __slots__ = ("_generation", "_model", "_seq", "_with_text", "_with_token_ids")

    def __init__(self, generation: Generation, model: str) -> None:
        self._generation = generation
        self._model = model
        self._seq = 0
        response = generation.request.response
        self._with_text = response.text or not response.HasField("text")
        self._with_token_ids = response.token_ids

    def next(self, text: str, token_ids: Iterable[int], finish: Finish | None = None) -> GenerateChunk:
        """The next chunk, with what is new in the only sequence."""
        delta = SequenceDelta(text=text if self._with_text else "", finish=finish)
        if self._with_token_ids:
            delta.token_ids.extend(token_ids)
        chunk = GenerateChunk(seq=self._seq, deltas=(delta,))
        if self._seq == 0:
            chunk.id = self._generation.id
            chunk.model = self._model
            chunk.request_id = self._generation.request.request_id
        self._seq += 1
        return chunk

    def last(
        self, text: str, token_ids: Iterable[int], finish: Finish, usage: Usage, timings: Timings
    ) -> GenerateChunk:
        """The last chunk: how it ended, and what was counted and measured."""
        chunk = self.next(text, token_ids, finish)
        chunk.usage.CopyFrom(usage)
        chunk.timings.CopyFrom(timings)
        if self._generation.streamed:
            chunk.timings.chunk_count = self._seq
        return chunk


def measured(
    received: float, first: float | None, last: float | None, tokens: int, queue_seconds: float | None
) -> Timings:
    """The timings of a generation of `tokens` from its moments on time.monotonic(); None is what nobody measured."""
    timings = Timings()
    if queue_seconds is not None:
        timings.queue_time_ms = 1000 * queue_seconds
    if first is not None:
        timings.time_to_first_token_ms = 1000 * (first - received)
    if last is not None and last > received:
        timings.generation_time_ms = 1000 * (last - received)
        timings.tokens_per_second = tokens / (last - received)
    if first is not None and last is not None and tokens > 1:
        timings.mean_itl_ms = 1000 * (last - first) / (tokens - 1)
    return timings
