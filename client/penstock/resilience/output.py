"""What has come of a resumable stream, as far as going on elsewhere needs it. Pure."""

from __future__ import annotations

from penstock.v1.generation_pb2 import GenerateChunk


class Output:
    """The first sequence's tokens and text, and what there was besides."""

    __slots__ = (
        "_finished",
        "_pieces",
        "_sequences",
        "several_sequences",
        "thoughts",
        "token_ids",
        "tool_calls",
        "usage",
    )

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self._pieces: list[str] = []
        self.thoughts = False
        self.tool_calls = False
        self.several_sequences = False
        self._sequences: set[int] = set()
        self._finished: set[int] = set()  # those of which the end is known
        self.usage = False

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def finished(self) -> bool:
        """Whether a sequence has ended."""
        return bool(self._finished)

    def complete(self, sequences: int) -> bool:
        """Whether only the call's own OK is missing; `sequences` is how many were asked for."""
        return self.usage and len(self._finished) >= sequences and self._finished >= self._sequences

    def goes_on_after(self, kept: int, text: str) -> None:
        """Another replica goes on after the first `kept` tokens, whose last text had not come yet."""
        del self.token_ids[kept:]
        self._pieces.append(text)

    def add(self, chunk: GenerateChunk) -> None:
        for delta in chunk.deltas:
            self.token_ids.extend(delta.token_ids)
            self._pieces.append(delta.text)
            self._sequences.add(delta.index)
            if delta.index:
                self.several_sequences = True
            if delta.reasoning:
                self.thoughts = True
            if delta.tool_calls:
                self.tool_calls = True
            if delta.HasField("finish"):
                self._finished.add(delta.index)
        if chunk.HasField("usage"):
            self.usage = True
