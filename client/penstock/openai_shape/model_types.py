"""OpenAI's types of models, and what Penstock adds to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from penstock.openai_shape.shape import Shape
from penstock.v1.models_pb2 import Limit


@dataclass(slots=True)
class Adapter(Shape):
    """A loaded version of an adapter. `id` is what a call's `model` names it by; `created` is when it was loaded."""

    id: str
    created: int
    name: str
    version: str
    digest: str
    rank: int
    running_calls: int


@dataclass(slots=True)
class Model(Shape):
    """A loaded model: OpenAI's four fields, then the contract's own (`penstock/v1/models.proto`).

    `created` is when the server finished loading it, in seconds since 1970. `adapter_aliases` says what each alias of
    an adapter means. `limits`, which no dump has, are the contract's limits for this model.
    """

    id: str
    created: int
    object: str = "model"
    owned_by: str = "penstock"
    aliases: list[str] = field(default_factory=list)
    context_length: int = 0
    vocabulary_size: int = 0
    max_concurrent_sequences: int = 0
    max_prompt_bytes: int = 0
    max_logprobs: int = 0
    chat: bool = False
    embeddings: bool = False
    engine: str = ""
    engine_version: str = ""
    digest: str = ""
    tool_parser: str = ""
    reasoning_parser: str = ""
    structured_outputs: list[str] = field(default_factory=list)
    modalities: list[str] = field(default_factory=list)
    adapters_enabled: bool = False
    adapters: list[Adapter] = field(default_factory=list)
    adapter_aliases: dict[str, str] = field(default_factory=dict)
    limits: list[Limit] = field(default_factory=list, repr=False)
    _request_id: str | None = field(default=None, repr=False, compare=False)

    _OURS = frozenset({"limits"})


@dataclass(slots=True)
class ModelList(Shape):
    """The loaded models, the default one first. Iterating gives them."""

    data: list[Model]
    object: str = "list"
    _request_id: str | None = field(default=None, repr=False, compare=False)

    _OMITTED_IF_NONE: ClassVar[frozenset[str]] = frozenset()

    def __iter__(self) -> Iterator[Model]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)
