"""Embedding texts: from keyword arguments to the request, and a reader for what comes back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from penstock import arguments
from penstock.call_options import CallOptions
from penstock.requests import prompt_options
from penstock.results import Results, outcomes
from penstock.v1.generation_pb2 import Embedding, EmbedInput, EmbedRequest, EmbedResponse, TokenIds

if TYPE_CHECKING:
    from typing_extensions import Unpack

TextLike = str | Sequence[int]  # a text, or its token ids


class EmbedOptions(TypedDict, total=False):
    """The keyword arguments of `embed`; None is the same as absent."""

    model: str | None
    dimensions: int | None
    normalize: bool | None
    request_id: str | None
    truncate_prompt_tokens: int | None
    truncation_side: Literal["left", "right"] | None
    add_special_tokens: bool | None
    parse_special_tokens: bool | None


class EmbedCall(EmbedOptions, CallOptions, total=False):
    """Those of `embed`, and of every call."""


def embed_request(texts: str | Iterable[TextLike], **options: Unpack[EmbedOptions]) -> EmbedRequest:
    """The request for `texts`. TypeError for an unknown keyword; ArgumentTypeError, ArgumentValueError."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    fields: dict[str, Any] = {name: _FIELDS[name](name, given.pop(name)) for name in _FIELDS if name in given}
    entries = [texts] if isinstance(texts, str) else arguments.items("texts", texts, "texts or token ids")
    inputs = [_input(f"texts[{i}]", text) for i, text in enumerate(entries)]
    return EmbedRequest(inputs=inputs, prompt_options=prompt_options(given), **fields)


def _input(argument: str, value: object) -> EmbedInput:
    if isinstance(value, str):
        return EmbedInput(text=arguments.text(argument, value))
    return EmbedInput(token_ids=TokenIds(ids=arguments.integers(argument, value)))


_FIELDS = {
    "model": arguments.text,
    "dimensions": arguments.integer,
    "normalize": arguments.flag,
    "request_id": arguments.text,
}


class EmbedReply(Results[EmbedResponse, Embedding]):
    """For each text its vector, with `values` and `prompt_tokens`, or the APIError with which it failed."""

    __slots__ = ()

    def __init__(self, proto: EmbedResponse) -> None:
        super().__init__(proto, outcomes(proto.results, lambda result: result.embedding, proto.request_id))

    @property
    def vectors(self) -> list[Sequence[float]]:
        """The numbers of each vector, if no text failed. Raises the error of the first that did."""
        return [embedding.values for embedding in self._all()]
