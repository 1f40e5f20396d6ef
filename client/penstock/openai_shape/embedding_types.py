"""OpenAI's types of embeddings, field for field."""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.openai_shape.shape import Shape


@dataclass(slots=True)
class Embedding(Shape):
    """A vector: numbers or, with encoding_format="base64", their little-endian floats of 32 bits in base64."""

    embedding: list[float] | str
    index: int
    object: str = "embedding"


@dataclass(slots=True)
class EmbeddingUsage(Shape):
    """What was counted."""

    prompt_tokens: int
    total_tokens: int


@dataclass(slots=True)
class CreateEmbeddingResponse(Shape):
    """The vectors, in the order of the inputs."""

    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    object: str = "list"
    _request_id: str | None = field(default=None, repr=False, compare=False)
