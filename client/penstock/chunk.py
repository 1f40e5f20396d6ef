"""What a stream returns: thin readers over the contract's chunks. What nobody asks for is not converted."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.reply import finish_reason
from penstock.v1.generation_pb2 import GenerateChunk, SequenceDelta, TokenInfo, ToolCallDelta

_NO_DELTA = SequenceDelta()


class _News:
    """What can be read of what is new in one sequence."""

    __slots__ = ()

    @property
    def _delta(self) -> SequenceDelta:
        raise NotImplementedError

    @property
    def text(self) -> str:
        """The new text. It can be empty while a character or a possible stop text is not complete yet."""
        return self._delta.text

    @property
    def reasoning(self) -> str:
        """More of what the model thinks before the text."""
        return self._delta.reasoning

    @property
    def tool_calls(self) -> Sequence[ToolCallDelta]:
        """What is new in the calls of tools: `index`, more of `arguments` and, the first time, `id` and `name`."""
        return self._delta.tool_calls

    @property
    def token_ids(self) -> Sequence[int]:
        """The new token ids; empty without `return_token_ids=True`."""
        return self._delta.token_ids

    @property
    def tokens(self) -> Sequence[TokenInfo]:
        """The new tokens with their logprobs; empty without `logprobs`."""
        return self._delta.tokens

    @property
    def finish_reason(self) -> str | None:
        """ "stop", "length", "context_length", "tool_calls" or "deadline" at the end of the text, else None."""
        return finish_reason(self._delta.finish)


class Delta(_News):
    """What is new in one of several sequences."""

    __slots__ = ("proto",)

    def __init__(self, proto: SequenceDelta) -> None:
        self.proto = proto

    @property
    def _delta(self) -> SequenceDelta:
        return self.proto

    @property
    def index(self) -> int:
        """The sequence's number, from 0."""
        return self.proto.index

    def __repr__(self) -> str:
        return f"Delta(index={self.index}, text={self.text!r}, finish_reason={self.finish_reason!r})"


class Chunk(_News):
    """One piece of a streamed answer.

    With `num_sequences` above 1, `text` and what else a sequence has are those of the first, which not every chunk has
    news of; `deltas` has all. `continued` is how often another replica had gone on with the answer by then, `cached`
    whether this is a whole answer that was made for an earlier call.
    """

    __slots__ = ("cached", "continued", "proto")

    def __init__(self, proto: GenerateChunk, continued: int = 0, cached: bool = False) -> None:
        self.proto = proto
        self.continued = continued
        self.cached = cached

    @property
    def _delta(self) -> SequenceDelta:
        for delta in self.proto.deltas:
            if delta.index == 0:
                return delta
        return _NO_DELTA

    @property
    def deltas(self) -> list[Delta]:
        """What is new, at most one for each sequence."""
        return [Delta(delta) for delta in self.proto.deltas]

    @property
    def seq(self) -> int:
        """The chunk's number in its stream, from 0."""
        return self.proto.seq

    def __repr__(self) -> str:
        return f"Chunk(seq={self.seq}, text={self.text!r}, finish_reason={self.finish_reason!r})"
