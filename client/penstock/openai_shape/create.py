"""What OpenAI's `create` functions were called with. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from penstock.call_options import CallOptions
from penstock.openai_shape.answer_types import AnswerType
from penstock.openai_shape.embeddings import EMBEDDING_PARAMETERS, EmbeddingCall, embedding_call
from penstock.openai_shape.parameters import (
    CHAT_PARAMETERS,
    COMPLETION_PARAMETERS,
    OpenAICall,
    chat_call,
    completion_call,
)
from penstock.openai_shape.parsed_answers import AnswerParser
from penstock.openai_shape.tool_arguments import ToolArguments, only_strict
from penstock.timeouts import Timeout

CallT = TypeVar("CallT", OpenAICall, EmbeddingCall)

# What every call of the client has beside its request; OpenAI's own `metadata` is another thing.
OWN_KEYWORDS = frozenset({"timeout", "tier", "deadline", "retry", "max_retries", "resume", "cache"})


class Create(NamedTuple):
    """A call that generates, and what goes beside it."""

    call: OpenAICall
    beside: CallOptions


class EmbeddingCreate(NamedTuple):
    """A call that embeds, and what goes beside it."""

    call: EmbeddingCall
    beside: CallOptions


def chat_create(keywords: Mapping[str, Any]) -> Create:
    """`chat.completions.create(**keywords)`. TypeError for a keyword not of OpenAI's, else BadRequestError."""
    return Create(*_create(keywords, CHAT_PARAMETERS, chat_call))


def completion_create(keywords: Mapping[str, Any]) -> Create:
    """`completions.create(**keywords)`. TypeError for a keyword not of OpenAI's, else BadRequestError."""
    return Create(*_create(keywords, COMPLETION_PARAMETERS, completion_call))


def embedding_create(keywords: Mapping[str, Any]) -> EmbeddingCreate:
    """`embeddings.create(**keywords)`. TypeError for a keyword not of OpenAI's, else BadRequestError."""
    return EmbeddingCreate(*_create(keywords, EMBEDDING_PARAMETERS, embedding_call))


def parsed_create(keywords: Mapping[str, Any]) -> tuple[AnswerParser, dict[str, Any]]:
    """What parses the answer of `chat.completions.parse(**keywords)`, and the keywords of `create` for it.

    TypeError for what cannot be a type of answers, ValueError for tools that are not strict.
    """
    given = _given(keywords)
    if "stream" in given:
        raise TypeError("parse() got an unexpected keyword argument 'stream'; use stream()")
    given["tools"] = only_strict(given.get("tools"))
    return _parsed(given)


def streamed_create(keywords: Mapping[str, Any]) -> tuple[AnswerParser, dict[str, Any]]:
    """The same for `chat.completions.stream(**keywords)`, which takes tools that are not strict."""
    given = _given(keywords)
    given["tools"] = None if given.get("tools") is None else list(given["tools"])
    return _parsed({**given, "stream": True})


def _parsed(given: dict[str, Any]) -> tuple[AnswerParser, dict[str, Any]]:
    answer_type = AnswerType(given.get("response_format"))
    return AnswerParser(answer_type, ToolArguments(given["tools"])), {**given, "response_format": answer_type.parameter}


def _create(
    keywords: Mapping[str, Any], known: frozenset[str], read: Callable[[Mapping[str, Any]], CallT]
) -> tuple[CallT, CallOptions]:
    parameters = _given(keywords)
    headers = parameters.pop("extra_headers", None) or {}
    body = parameters.pop("extra_body", None) or {}
    parameters.pop("extra_query", None)
    beside = {name: parameters.pop(name) for name in OWN_KEYWORDS & parameters.keys()}
    for name in parameters:
        if name not in known:
            raise TypeError(f"create() got an unexpected keyword argument {name!r}")
    if hasattr(beside.get("timeout"), "read"):
        beside["timeout"] = _from_httpx(beside["timeout"])
    beside["metadata"] = tuple((name.lower(), value) for name, value in headers.items())
    return read({**parameters, **body}), cast("CallOptions", beside)


def _given(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that openai.NOT_GIVEN and openai.omit stand for."""
    return {name: value for name, value in keywords.items() if type(value).__name__ not in ("NotGiven", "Omit")}


def _from_httpx(timeout: Any) -> Timeout:
    """httpx.Timeout as openai-python means it: it limits each wait for the server, and no call as a whole."""
    return Timeout(connect=timeout.connect, first_token=timeout.read, idle=timeout.read)
