"""What has come of a resumable stream, as far as going on elsewhere needs it. Pure."""

from __future__ import annotations

from penstock.v1.generation_pb2 import GenerateChunk


class Output:
    """The first sequence's tokens and text, and what there was besides."""

    __slots__ = ("_pieces", "finished", "several_sequences", "thoughts", "token_ids", "tool_calls", "usage")

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self._pieces: list[str] = []
        self.thoughts = False
        self.tool_calls = False
        self.several_sequences = False
        self.finished = False  # why it ended is known
        self.usage = False

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def complete(self) -> bool:
        """Whether only the call's own OK is missing."""
        return self.finished and self.usage

    def goes_on_after(self, kept: int, text: str) -> None:
        """Another replica goes on after the first `kept` tokens, whose last text had not come yet."""
        del self.token_ids[kept:]
        self._pieces.append(text)

    def add(self, chunk: GenerateChunk) -> None:
        for delta in chunk.deltas:
            self.token_ids.extend(delta.token_ids)
            self._pieces.append(delta.text)
            if delta.index:
                self.several_sequences = True
            if delta.reasoning:
                self.thoughts = True
            if delta.tool_calls:
                self.tool_calls = True
            if delta.HasField("finish"):
                self.finished = True
        if chunk.HasField("usage"):
            self.usage = True
