"""From the JSON body of an OpenAI HTTP request to the keyword arguments of `create`. Pure.

As OpenAI's dialects need it: unknown fields are ignored and null is the same as absent. Everything else that is wrong
raises BadRequestError with `param`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from penstock.errors import BadRequestError
from penstock.openai_shape.embeddings import EMBEDDING_EXTRAS, EMBEDDING_PARAMETERS, embedding_call
from penstock.openai_shape.parameters import (
    CHAT_PARAMETERS,
    COMPLETION_PARAMETERS,
    EXTRA_PARAMETERS,
    chat_call,
    completion_call,
)


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is. Raises BadRequestError."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is not valid JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise BadRequestError("the body must be a JSON object")
    return parsed


def chat_arguments(body: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `chat.completions.create`, checked."""
    return _arguments(body, CHAT_PARAMETERS, EXTRA_PARAMETERS, chat_call)


def completion_arguments(body: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `completions.create`, checked."""
    return _arguments(body, COMPLETION_PARAMETERS, EXTRA_PARAMETERS, completion_call)


def embedding_arguments(body: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `embeddings.create`, checked."""
    return _arguments(body, EMBEDDING_PARAMETERS, EMBEDDING_EXTRAS, embedding_call)


def _arguments(
    body: Mapping[str, Any],
    known: frozenset[str],
    extra: frozenset[str],
    read: Callable[[Mapping[str, Any]], object],
) -> dict[str, Any]:
    read(body)
    given = {name: value for name, value in body.items() if value is not None}
    named = {name: value for name, value in given.items() if name in known}
    extras = {name: value for name, value in given.items() if name in extra - known}
    return {**named, "extra_body": extras} if extras else named
