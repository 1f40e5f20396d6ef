"""What OpenAI's `create` functions were called with. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from penstock.call_options import CLIENT_DEFAULT, Pairs, TimeoutLike
from penstock.openai_shape.embeddings import EMBEDDING_PARAMETERS, EmbeddingCall, embedding_call
from penstock.openai_shape.parameters import (
    CHAT_PARAMETERS,
    COMPLETION_PARAMETERS,
    OpenAICall,
    chat_call,
    completion_call,
)

CallT = TypeVar("CallT", OpenAICall, EmbeddingCall)


class Create(NamedTuple):
    """A call that generates, and what goes beside it."""

    call: OpenAICall
    timeout: TimeoutLike
    metadata: Pairs


class EmbeddingCreate(NamedTuple):
    """A call that embeds, and what goes beside it."""

    call: EmbeddingCall
    timeout: TimeoutLike
    metadata: Pairs


def chat_create(keywords: Mapping[str, Any]) -> Create:
    """`chat.completions.create(**keywords)`. TypeError for a keyword not of OpenAI's, else BadRequestError."""
    return Create(*_create(keywords, CHAT_PARAMETERS, chat_call))


def completion_create(keywords: Mapping[str, Any]) -> Create:
    """`completions.create(**keywords)`. TypeError for a keyword not of OpenAI's, else BadRequestError."""
    return Create(*_create(keywords, COMPLETION_PARAMETERS, completion_call))


def embedding_create(keywords: Mapping[str, Any]) -> EmbeddingCreate:
    """`embeddings.create(**keywords)`. TypeError for a keyword not of OpenAI's, else BadRequestError."""
    return EmbeddingCreate(*_create(keywords, EMBEDDING_PARAMETERS, embedding_call))


def _create(
    keywords: Mapping[str, Any], known: frozenset[str], read: Callable[[Mapping[str, Any]], CallT]
) -> tuple[CallT, TimeoutLike, Pairs]:
    parameters = dict(keywords)
    timeout = parameters.pop("timeout", CLIENT_DEFAULT)
    headers = parameters.pop("extra_headers", None) or {}
    body = parameters.pop("extra_body", None) or {}
    parameters.pop("extra_query", None)
    for name in parameters:
        if name not in known:
            raise TypeError(f"create() got an unexpected keyword argument {name!r}")
    metadata = tuple((name.lower(), value) for name, value in headers.items())
    return read({**parameters, **body}), timeout, metadata
