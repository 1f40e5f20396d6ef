"""OpenAI's types of log probabilities, field for field."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.openai_shape.shape import Shape


@dataclass(slots=True)
class TopLogprob(Shape):
    """A token that could have been. `bytes` are those of its text."""

    token: str
    bytes: list[int] | None
    logprob: float


@dataclass(slots=True)
class TokenLogprob(Shape):
    """A token of a chat answer, and the likeliest for its place."""

    token: str
    bytes: list[int] | None
    logprob: float
    top_logprobs: list[TopLogprob]


@dataclass(slots=True)
class ChoiceLogprobs(Shape):
    """The tokens of a chat answer, those of thoughts and tool calls included."""

    content: list[TokenLogprob]
    refusal: list[TokenLogprob] | None = None


@dataclass(slots=True)
class CompletionLogprobs(Shape):
    """The tokens of a continuation, one entry for each. `text_offset` is where each begins in the text, from 0."""

    text_offset: list[int]
    token_logprobs: list[float]
    tokens: list[str]
    top_logprobs: list[dict[str, float]] | None
