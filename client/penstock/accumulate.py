"""Folds the chunks of a stream into the reply that Generate would have given. Pure."""

from __future__ import annotations

from penstock.errors import InternalServerError
from penstock.reply import Reply
from penstock.v1.generation_pb2 import (
    GenerateChunk,
    GenerateResponse,
    SequenceDelta,
    ToolCall,
    ToolCallDelta,
)
from penstock.v1.generation_pb2 import (
    Sequence as GeneratedSequence,
)


class _Folded:
    """One sequence."""

    __slots__ = ("calls", "pieces", "sequence", "thoughts")

    def __init__(self, index: int) -> None:
        self.sequence = GeneratedSequence(index=index)
        self.pieces: list[str] = []
        self.thoughts: list[str] = []
        self.calls: dict[int, _FoldedCall] = {}

    def add(self, delta: SequenceDelta) -> None:
        self.pieces.append(delta.text)
        self.thoughts.append(delta.reasoning)
        self.sequence.token_ids.extend(delta.token_ids)
        self.sequence.tokens.extend(delta.tokens)
        for call in delta.tool_calls:
            self.calls.setdefault(call.index, _FoldedCall()).add(call)
        if delta.HasField("finish"):
            self.sequence.finish.CopyFrom(delta.finish)

    def whole(self) -> GeneratedSequence:
        self.sequence.text = "".join(self.pieces)
        self.sequence.reasoning = "".join(self.thoughts)
        self.sequence.tool_calls.extend(call.whole() for _, call in sorted(self.calls.items()))
        return self.sequence


class _FoldedCall:
    """One call of a tool."""

    __slots__ = ("id", "name", "pieces")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []

    def add(self, delta: ToolCallDelta) -> None:
        self.id = self.id or delta.id
        self.name = self.name or delta.name
        self.pieces.append(delta.arguments)

    def whole(self) -> ToolCall:
        return ToolCall(id=self.id, name=self.name, arguments="".join(self.pieces))


class Accumulator:
    """The chunks received so far. Chunks must come in order and without a gap.

    They are kept as bytes and looked into only when somebody asks: most callers read the chunks and nothing else. The
    bytes of messages one after the other are those of the messages merged: all the deltas, and of the rest the last.
    """

    __slots__ = ("_last_at", "_next_seq", "_pieces", "_received", "_seen_bytes", "count")

    def __init__(self, first_seq: int = 0, before: bytes = b"") -> None:
        """first_seq: of the first chunk to come. before: the chunks before it, as far as they are known."""
        self.count = first_seq if before else 0
        self._next_seq = first_seq
        self._last_at = len(before)
        self._received = bytearray(before)
        self._pieces = [""]  # of the first sequence's text
        self._seen_bytes = 0  # so much of what was received is in the pieces

    def add(self, chunk: GenerateChunk) -> None:
        """Take the next chunk. Raises InternalServerError if its `seq` is not the next one."""
        if chunk.seq != self._next_seq:
            raise InternalServerError(f"the server sent chunk {chunk.seq} where chunk {self._next_seq} was due")
        self._next_seq += 1
        self.count += 1
        self._last_at = len(self._received)
        self._received += chunk.SerializeToString()

    @property
    def text(self) -> str:
        """The text of the first sequence so far."""
        if self._seen_bytes < len(self._received):
            news = GenerateChunk.FromString(bytes(self._received[self._seen_bytes :]))
            self._seen_bytes = len(self._received)
            self._pieces.extend([delta.text for delta in news.deltas if delta.index == 0])
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    @property
    def last(self) -> GenerateChunk:
        """The last chunk; an empty one if none has come."""
        return GenerateChunk.FromString(bytes(self._received[self._last_at :]))

    def check_complete(self) -> None:
        """Raises InternalServerError unless every sequence has its finish reason, and a chunk the usage."""
        merged = self._merged()
        unfinished = {delta.index for delta in merged.deltas} or {0}
        for delta in reversed(merged.deltas):
            if not unfinished:
                break
            if delta.HasField("finish"):
                unfinished.discard(delta.index)
        if unfinished:
            raise InternalServerError("the server ended the stream without a finish reason")
        if not merged.HasField("usage"):
            raise InternalServerError("the server ended the stream without its usage")

    def reply(self) -> Reply:
        """All of it so far; complete once the stream has ended."""
        merged = self._merged()
        return Reply(
            GenerateResponse(
                id=merged.id,
                model=merged.model,
                request_id=merged.request_id,
                sequences=_sequences(merged),
                usage=merged.usage if merged.HasField("usage") else None,
                timings=merged.timings if merged.HasField("timings") else None,
                prompt=merged.prompt,
                settings=merged.settings if merged.HasField("settings") else None,
                adapter=merged.adapter if merged.HasField("adapter") else None,
            )
        )

    def _merged(self) -> GenerateChunk:
        return GenerateChunk.FromString(bytes(self._received))


def _sequences(merged: GenerateChunk) -> list[GeneratedSequence]:
    """There is a first one even if nothing has come of it."""
    sequences = {0: _Folded(0)}
    for delta in merged.deltas:
        if delta.index not in sequences:
            sequences[delta.index] = _Folded(delta.index)
        sequences[delta.index].add(delta)
    return [folded.whole() for _, folded in sorted(sequences.items())]
