"""The arguments of strict tools, parsed. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from penstock.openai_shape.answer_types import partial_json


class ToolArguments:
    """The tools of a call, by name, as far as their arguments can be parsed: `strict` ones, as JSON.

    A tool made by `openai.pydantic_function_tool` knows its model, and its arguments become one.
    """

    def __init__(self, tools: Iterable[Any] | None) -> None:
        functions = [tool["function"] for tool in tools or () if tool.get("type") == "function"]
        self._parsers: dict[str, Callable[[str], Any]] = {
            function["name"]: _parser(function) for function in functions if _is_strict(function)
        }

    def __bool__(self) -> bool:
        return bool(self._parsers)

    def parse(self, name: str, arguments: str) -> Any:
        """The arguments; None if this tool is not strict. Raises ValueError if they are not what they should be."""
        parser = self._parsers.get(name)
        return parser(arguments) if parser else None

    def partial(self, name: str, arguments: str) -> Any:
        """What the arguments say so far; None if that cannot be told."""
        return partial_json(arguments) if arguments and name in self._parsers else None


def only_strict(tools: Iterable[Any] | None) -> list[Any] | None:
    """The tools. Raises ValueError for one that `parse` cannot answer for, as OpenAI's does."""
    if tools is None:
        return None
    given = list(tools)
    for i, tool in enumerate(given):
        if tool.get("type") != "function":
            raise ValueError(f"tools[{i}].type is {tool.get('type')!r}; only tools of type 'function' can be parsed")
        if not _is_strict(tool["function"]):
            raise ValueError(f"tools[{i}].function.strict must be True, or its arguments cannot be parsed")
    return given


def _is_strict(function: Mapping[str, Any]) -> bool:
    return function.get("strict") is True


def _parser(function: Mapping[str, Any]) -> Callable[[str], Any]:
    model = getattr(function, "model", None)
    parse: Callable[[str], Any] = json.loads if model is None else model.model_validate_json
    return parse
