"""From dicts to tools, to the choice among them, and to the calls that a model made of them. Pure.

OpenAI's forms, which have a `function` inside, are read beside the contract's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock import arguments
from penstock.arguments import ArgumentValueError
from penstock.v1.generation_pb2 import Tool, ToolCall, ToolChoiceMode

ToolLike = Mapping[str, object] | Tool

_MODES: dict[str, ToolChoiceMode] = {
    "auto": ToolChoiceMode.TOOL_CHOICE_MODE_AUTO,
    "none": ToolChoiceMode.TOOL_CHOICE_MODE_NONE,
    "required": ToolChoiceMode.TOOL_CHOICE_MODE_REQUIRED,
}


def tools(argument: str, value: object) -> list[Tool]:
    """`value`, a list of tools."""
    return [_tool(f"{argument}[{i}]", tool) for i, tool in enumerate(arguments.items(argument, value, "tools"))]


def tool_choice(argument: str, value: object) -> dict[str, object]:
    """The field of ToolChoice that `value` stands for: a mode, a tool's name, or OpenAI's dict that names one."""
    if isinstance(value, Mapping):
        place, function = _function(argument, value)
        return {"name": arguments.text(f"{place}.name", function.get("name"))}
    word = arguments.text(argument, value)
    return {"mode": _MODES[word]} if word in _MODES else {"name": word}


def tool_calls(argument: str, value: object) -> list[ToolCall]:
    """`value`, a list of calls that a model made."""
    given = arguments.items(argument, value, "tool calls")
    return [_tool_call(f"{argument}[{i}]", call) for i, call in enumerate(given)]


def _tool(argument: str, value: object) -> Tool:
    if isinstance(value, Tool):
        return value
    place, function = _function(argument, arguments.mapping(argument, value, "a dict with name and parameters"))
    tool = Tool(name=arguments.text(f"{place}.name", function.get("name")))
    if function.get("description") is not None:
        tool.description = arguments.text(f"{place}.description", function["description"])
    if function.get("parameters") is not None:
        tool.parameters = arguments.json_text(f"{place}.parameters", function["parameters"])
    if function.get("strict") is not None:
        tool.strict = arguments.flag(f"{place}.strict", function["strict"])
    return tool


def _tool_call(argument: str, value: object) -> ToolCall:
    if isinstance(value, ToolCall):
        return value
    fields = arguments.mapping(argument, value, "a dict with id, name and arguments")
    place, function = _function(argument, fields)
    return ToolCall(
        id=arguments.text(f"{argument}.id", fields.get("id")),
        name=arguments.text(f"{place}.name", function.get("name")),
        arguments=arguments.json_text(f"{place}.arguments", function.get("arguments")),
    )


def _function(argument: str, fields: Mapping[str, object]) -> tuple[str, Mapping[str, object]]:
    """Where the function's own fields are, and these."""
    kind = fields.get("type")
    if kind is not None and arguments.text(f"{argument}.type", kind) != "function":
        raise ArgumentValueError(f"{argument}.type", f"is {str(kind)[:32]!r}; only 'function' is supported")
    if "function" not in fields:
        return argument, fields
    place = f"{argument}.function"
    return place, arguments.mapping(place, fields["function"], "a dict with name")
