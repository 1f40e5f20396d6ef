"""What an answer's text is parsed into: a pydantic model, a dataclass or plain JSON. Pure.

pydantic is used where the caller brings it: a model of pydantic's is told by its methods, and only dataclasses need the
import.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from penstock.arguments import ArgumentTypeError
from penstock.openai_shape.strict_schema import strict_schema

_JSON_FORMATS = ("json_object", "json_schema")


class AnswerType:
    """The `response_format` of `parse` and `stream`.

    parameter: what the call itself says, OpenAI's `response_format`; None for a free answer.
    parse: from the whole text to the value; None if nothing is parsed.
    partial: from the beginning of the text to what it has so far; None if the answer is not JSON.
    """

    def __init__(self, response_format: object) -> None:
        self.parameter: Mapping[str, Any] | None = None
        self.parse: Callable[[str], Any] | None = None
        if isinstance(response_format, Mapping):
            self.parameter = response_format
            self.parse = json.loads if response_format.get("type") in _JSON_FORMATS else None
        elif isinstance(response_format, type):
            self._take_class(response_format)
        elif response_format is not None:
            raise ArgumentTypeError("response_format", "a pydantic model, a dataclass or a dict", response_format)

    def partial(self, text: str) -> Any:
        """What the JSON says so far, for text that is not yet complete; None if that cannot be told."""
        return partial_json(text) if self.parse is not None else None

    def _take_class(self, kind: type) -> None:
        schema, self.parse = _schema_and_parser(kind)
        described = {"schema": strict_schema(schema), "name": kind.__name__, "strict": True}
        self.parameter = {"type": "json_schema", "json_schema": described}


def _schema_and_parser(kind: Any) -> tuple[dict[str, Any], Callable[[str], Any]]:
    if hasattr(kind, "model_json_schema"):
        return kind.model_json_schema(), kind.model_validate_json
    if not dataclasses.is_dataclass(kind):
        raise TypeError(
            f"response_format must be a pydantic model, a dataclass or a dict, not the class {kind.__name__}"
        )
    try:
        from pydantic import TypeAdapter
    except ImportError as error:
        raise ImportError("a dataclass as response_format needs pydantic: pip install pydantic") from error
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return adapter.json_schema(), adapter.validate_json


def partial_json(text: str) -> Any:
    """The value of JSON whose end is missing; None where pydantic is not installed, or nothing can be told yet."""
    try:
        from pydantic_core import from_json
    except ImportError:
        return None
    try:
        return from_json(text, allow_partial=True)
    except ValueError:
        return None
