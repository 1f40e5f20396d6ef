"""From the chunks of a stream to the pieces that OpenAI would send. Pure.

The rules are those that OpenAI's clients rely on: the role comes once and first, text comes without it, the finish
reason comes on a piece without text, and usage comes where the caller asked for it: alone on one last piece without
choices (include_usage), else on the last finish piece. No other piece is without choices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from penstock.openai_shape.results import CHAT_ID, COMPLETION_ID, openai_finish_reason, usage_of
from penstock.openai_shape.types import (
    ChatCompletionChunk,
    ChoiceDelta,
    ChunkChoice,
    Completion,
    CompletionChoice,
    CompletionUsage,
)
from penstock.reply import Chunk, finish_reason
from penstock.v1.generation_pb2 import Usage

PieceT = TypeVar("PieceT", ChatCompletionChunk, Completion)


class _Pieces(ABC, Generic[PieceT]):
    """Folds the chunks of `prompts` streams, in any order of the streams. The subclasses know the shape of a piece."""

    _id_prefix: str

    def __init__(self, created: int, include_usage: bool, prompts: int = 1) -> None:
        self._created = created
        self._include_usage = include_usage
        self._prompts = prompts
        self._id = ""
        self._model = ""
        self._usages: list[Usage] = []
        self._finishes: dict[int, str] = {}

    def add(self, index: int, chunk: Chunk) -> list[PieceT]:
        """The pieces for the next chunk of prompt `index`: none, one or more."""
        proto = chunk.proto
        pieces: list[PieceT] = []
        if not self._id:
            self._id, self._model = self._id_prefix + proto.id, proto.model
        if proto.seq == 0:
            pieces.extend(self._beginning(index))
        for delta in proto.deltas:
            if delta.text:
                pieces.append(self._text(index, delta.text))
            if delta.HasField("finish"):
                self._finishes[index] = openai_finish_reason(finish_reason(delta.finish))
        if proto.HasField("usage"):
            pieces.extend(self._ending(index, proto.usage))
        return pieces

    def _ending(self, index: int, usage: Usage) -> list[PieceT]:
        """The contract sends usage last, so the finish reason has waited for it if they came apart."""
        self._usages.append(usage)
        total = usage_of(self._usages) if len(self._usages) == self._prompts else None
        reason = self._finishes.get(index, "stop")
        if not self._include_usage or total is None:
            return [self._finish(index, reason, total if not self._include_usage else None)]
        return [self._finish(index, reason, None), self._usage_alone(total)]

    def _beginning(self, index: int) -> list[PieceT]:
        return []

    @abstractmethod
    def _text(self, index: int, text: str) -> PieceT: ...

    @abstractmethod
    def _finish(self, index: int, reason: str, usage: CompletionUsage | None) -> PieceT: ...

    @abstractmethod
    def _usage_alone(self, usage: CompletionUsage) -> PieceT: ...


class ChatPieces(_Pieces[ChatCompletionChunk]):
    """The pieces of a chat."""

    _id_prefix = CHAT_ID

    def _beginning(self, index: int) -> list[ChatCompletionChunk]:
        return [self._piece([ChunkChoice(index, ChoiceDelta(content="", role="assistant"))])]

    def _text(self, index: int, text: str) -> ChatCompletionChunk:
        return self._piece([ChunkChoice(index, ChoiceDelta(content=text))])

    def _finish(self, index: int, reason: str, usage: CompletionUsage | None) -> ChatCompletionChunk:
        return self._piece([ChunkChoice(index, ChoiceDelta(), reason)], usage)

    def _usage_alone(self, usage: CompletionUsage) -> ChatCompletionChunk:
        return self._piece([], usage)

    def _piece(self, choices: list[ChunkChoice], usage: CompletionUsage | None = None) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            self._id, choices, self._created, self._model, usage, _usage_asked=self._include_usage
        )


class CompletionPieces(_Pieces[Completion]):
    """The pieces of one or more continuations."""

    _id_prefix = COMPLETION_ID

    def _text(self, index: int, text: str) -> Completion:
        return self._piece([CompletionChoice(index, text)])

    def _finish(self, index: int, reason: str, usage: CompletionUsage | None) -> Completion:
        return self._piece([CompletionChoice(index, "", reason)], usage)

    def _usage_alone(self, usage: CompletionUsage) -> Completion:
        return self._piece([], usage)

    def _piece(self, choices: list[CompletionChoice], usage: CompletionUsage | None = None) -> Completion:
        return Completion(self._id, choices, self._created, self._model, usage, _usage_asked=self._include_usage)
