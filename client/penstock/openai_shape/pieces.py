"""From the chunks of a stream to the pieces that OpenAI would send. Pure.

The rules are those that OpenAI's clients rely on: the role comes once and first, text comes without it, the finish
reason comes on a piece without text, and usage comes where the caller asked for it: alone on one last piece without
choices (include_usage), else on the last finish piece. No other piece is without choices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from typing import Generic, TypeVar

from penstock.chunk import Chunk
from penstock.openai_shape.logprobs import CompletionTokens, chat_logprobs
from penstock.openai_shape.results import CHAT_ID, COMPLETION_ID, openai_finish_reason, usage_of
from penstock.openai_shape.tool_calls import tool_call_deltas
from penstock.openai_shape.types import (
    ChatCompletionChunk,
    ChoiceDelta,
    ChunkChoice,
    Completion,
    CompletionChoice,
    CompletionUsage,
)
from penstock.reply import finish_reason
from penstock.v1.generation_pb2 import SequenceDelta, Usage

PieceT = TypeVar("PieceT", ChatCompletionChunk, Completion)


class Pieces(ABC, Generic[PieceT]):
    """Folds the chunks of `prompts` streams, in any order of the streams. The subclasses know the shape of a piece.

    A choice is a sequence of a prompt: each prompt has `sequences` of them, one after the other.
    """

    _id_prefix: str

    def __init__(self, created: int, include_usage: bool, prompts: int = 1, sequences: int = 1) -> None:
        self._created = created
        self._include_usage = include_usage
        self._prompts = prompts
        self._sequences = sequences
        self.request_id: str | None = None  # once a chunk is there
        self._id = ""
        self._model = ""
        self._usages: list[Usage] = []
        self._last_finishes: dict[int, tuple[int, str]] = {}  # by prompt: a choice and its reason

    def add(self, prompt: int, chunk: Chunk) -> list[PieceT]:
        """The pieces for the next chunk of this prompt: none, one or more."""
        proto = chunk.proto
        pieces: list[PieceT] = []
        first = prompt * self._sequences
        if not self._id:
            self._id, self._model = self._id_prefix + proto.id, proto.model
            self.request_id = proto.request_id or proto.id
        if proto.seq == 0:
            for choice in range(first, first + self._sequences):
                pieces.extend(self._beginning(choice))
        for delta in proto.deltas:
            if delta.text or delta.reasoning or delta.tool_calls or delta.tokens:
                pieces.append(self._news(first + delta.index, delta))
            if delta.HasField("finish"):
                pieces.extend(self._finished(prompt, delta))
        if proto.HasField("usage"):
            pieces.extend(self._ending(prompt, proto.usage))
        return pieces

    def _finished(self, prompt: int, delta: SequenceDelta) -> list[PieceT]:
        """The contract sends usage last, and usage rides on the last finish piece: the newest one waits for it."""
        before = self._last_finishes.get(prompt)
        choice = prompt * self._sequences + delta.index
        self._last_finishes[prompt] = choice, openai_finish_reason(finish_reason(delta.finish))
        return [self._finish(*before, None)] if before else []

    def _ending(self, prompt: int, usage: Usage) -> list[PieceT]:
        self._usages.append(usage)
        total = usage_of(self._usages) if len(self._usages) == self._prompts else None
        last = self._last_finishes.get(prompt, (prompt * self._sequences, "stop"))
        if not self._include_usage or total is None:
            return [self._finish(*last, total if not self._include_usage else None)]
        return [self._finish(*last, None), self._usage_alone(total)]

    def _beginning(self, choice: int) -> list[PieceT]:
        return []

    @abstractmethod
    def _news(self, choice: int, delta: SequenceDelta) -> PieceT: ...

    @abstractmethod
    def _finish(self, choice: int, reason: str, usage: CompletionUsage | None) -> PieceT: ...

    @abstractmethod
    def _usage_alone(self, usage: CompletionUsage) -> PieceT: ...


class ChatPieces(Pieces[ChatCompletionChunk]):
    """The pieces of a chat."""

    _id_prefix = CHAT_ID

    def _beginning(self, choice: int) -> list[ChatCompletionChunk]:
        return [self._piece([ChunkChoice(choice, ChoiceDelta(content="", role="assistant"))])]

    def _news(self, choice: int, delta: SequenceDelta) -> ChatCompletionChunk:
        reasoning = delta.reasoning or None
        news = ChoiceDelta(
            content=delta.text or None,
            tool_calls=tool_call_deltas(delta.tool_calls),
            reasoning=reasoning,
            reasoning_content=reasoning,
        )
        return self._piece([ChunkChoice(choice, news, logprobs=chat_logprobs(delta.tokens))])

    def _finish(self, choice: int, reason: str, usage: CompletionUsage | None) -> ChatCompletionChunk:
        return self._piece([ChunkChoice(choice, ChoiceDelta(), reason)], usage)

    def _usage_alone(self, usage: CompletionUsage) -> ChatCompletionChunk:
        return self._piece([], usage)

    def _piece(self, choices: list[ChunkChoice], usage: CompletionUsage | None = None) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            self._id, choices, self._created, self._model, usage, _usage_asked=self._include_usage
        )


class CompletionPieces(Pieces[Completion]):
    """The pieces of one or more continuations."""

    _id_prefix = COMPLETION_ID

    def __init__(self, created: int, include_usage: bool, prompts: int = 1, sequences: int = 1) -> None:
        super().__init__(created, include_usage, prompts, sequences)
        self._tokens: defaultdict[int, CompletionTokens] = defaultdict(CompletionTokens)

    def _news(self, choice: int, delta: SequenceDelta) -> Completion:
        logprobs = self._tokens[choice].logprobs(delta.tokens) if delta.tokens else None
        return self._piece([CompletionChoice(choice, delta.text, logprobs=logprobs)])

    def _finish(self, choice: int, reason: str, usage: CompletionUsage | None) -> Completion:
        return self._piece([CompletionChoice(choice, "", reason)], usage)

    def _usage_alone(self, usage: CompletionUsage) -> Completion:
        return self._piece([], usage)

    def _piece(self, choices: list[CompletionChoice], usage: CompletionUsage | None = None) -> Completion:
        return Completion(self._id, choices, self._created, self._model, usage, _usage_asked=self._include_usage)
