"""Folds the chunks of a stream into the reply that Generate would have given. Pure."""

from __future__ import annotations

from penstock.errors import InternalServerError
from penstock.reply import Reply
from penstock.v1.generation_pb2 import (
    Finish,
    GenerateChunk,
    GenerateResponse,
    SequenceDelta,
)
from penstock.v1.generation_pb2 import (
    Sequence as GeneratedSequence,
)


class _Folded:
    """One sequence so far."""

    __slots__ = ("finish", "pieces", "token_ids")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.token_ids: list[int] = []
        self.finish: Finish | None = None

    def add(self, delta: SequenceDelta) -> None:
        self.pieces.append(delta.text)
        if delta.token_ids:
            self.token_ids.extend(delta.token_ids)
        if delta.HasField("finish"):
            self.finish = delta.finish

    def text(self) -> str:
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""


class Accumulator:
    """The chunks received so far. Chunks must come in order and without a gap."""

    __slots__ = ("_head", "_sequences", "_tail", "count")

    def __init__(self) -> None:
        self.count = 0
        self._sequences: dict[int, _Folded] = {0: _Folded()}
        self._head: GenerateChunk | None = None
        self._tail: GenerateChunk | None = None

    def add(self, chunk: GenerateChunk) -> None:
        """Take the next chunk. Raises InternalServerError if its `seq` is not the next one."""
        if chunk.seq != self.count:
            raise InternalServerError(f"the server sent chunk {chunk.seq} where chunk {self.count} was due")
        if self._head is None:
            self._head = chunk
        self.count += 1
        self._tail = chunk
        for delta in chunk.deltas:
            sequence = self._sequences.get(delta.index)
            if sequence is None:
                sequence = self._sequences[delta.index] = _Folded()
            sequence.add(delta)

    @property
    def text(self) -> str:
        """The text of the first sequence so far."""
        return self._sequences[0].text()

    def check_complete(self) -> None:
        """Raises InternalServerError unless every sequence has its finish reason, and the last chunk the usage."""
        if any(sequence.finish is None for sequence in self._sequences.values()):
            raise InternalServerError("the server ended the stream without a finish reason")
        if self._tail is None or not self._tail.HasField("usage"):
            raise InternalServerError("the server ended the stream without its usage")

    def reply(self) -> Reply:
        """All of it so far; complete once the stream has ended."""
        head = self._head or GenerateChunk()
        tail = self._tail or GenerateChunk()
        return Reply(
            GenerateResponse(
                id=head.id,
                model=head.model,
                request_id=head.request_id,
                sequences=[_sequence(index, folded) for index, folded in sorted(self._sequences.items())],
                usage=tail.usage if tail.HasField("usage") else None,
                timings=tail.timings if tail.HasField("timings") else None,
            )
        )


def _sequence(index: int, folded: _Folded) -> GeneratedSequence:
    return GeneratedSequence(index=index, text=folded.text(), token_ids=folded.token_ids, finish=folded.finish)
