"""From dicts to the messages of a conversation. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from penstock import arguments
from penstock.arguments import ArgumentTypeError
from penstock.content_parts import content_part
from penstock.tools import tool_calls
from penstock.v1.generation_pb2 import ContentPart, Message, Role, TemplateArgument

MessageLike = Mapping[str, object] | Message

_ROLES: dict[str, Role] = {
    "system": Role.ROLE_SYSTEM,
    "developer": Role.ROLE_DEVELOPER,
    "user": Role.ROLE_USER,
    "assistant": Role.ROLE_ASSISTANT,
    "tool": Role.ROLE_TOOL,
}


def messages(argument: str, value: object) -> list[Message]:
    """`value`, a list of messages."""
    given = arguments.items(argument, value, "messages")
    return [_message(f"{argument}[{i}]", message) for i, message in enumerate(given)]


def template_arguments(argument: str, value: object) -> dict[str, TemplateArgument]:
    """`value`, a dict from the names of a template's variables to bools, numbers or texts."""
    given = arguments.mapping(argument, value, "a dict of template variables")
    return {
        arguments.text(f"{argument}'s key", name): _template_argument(f"{argument}[{name!r}]"[:80], each)
        for name, each in given.items()
    }


def _template_argument(argument: str, value: object) -> TemplateArgument:
    if isinstance(value, bool):
        return TemplateArgument(flag=value)
    if isinstance(value, int):
        return TemplateArgument(integer=arguments.long_integer(argument, value))
    if isinstance(value, str):
        return TemplateArgument(text=arguments.text(argument, value))
    if not hasattr(value, "__float__"):
        raise ArgumentTypeError(argument, "a bool, a number or a str", value)
    return TemplateArgument(number=arguments.number(argument, value))


def _message(argument: str, value: object) -> Message:
    if isinstance(value, Message):
        return value
    fields = arguments.mapping(argument, value, "a dict with role and content")
    role = arguments.one_of(f"{argument}.role", fields.get("role"), _ROLES)
    calls = [] if fields.get("tool_calls") is None else tool_calls(f"{argument}.tool_calls", fields["tool_calls"])
    content = fields.get("content")
    return Message(
        role=_ROLES[role],
        content=[] if content is None and calls else _content(f"{argument}.content", content),
        tool_calls=calls,
        tool_call_id=_optional_text(argument, fields, "tool_call_id"),
        name=_optional_text(argument, fields, "name"),
        # vLLM and others called it reasoning_content before.
        reasoning=_optional_text(argument, fields, "reasoning")
        or _optional_text(argument, fields, "reasoning_content"),
    )


def _optional_text(argument: str, fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return "" if value is None else arguments.text(f"{argument}.{name}", value)


def _content(argument: str, value: object) -> list[ContentPart]:
    if isinstance(value, str):
        return [ContentPart(text=arguments.text(argument, value))]
    parts = arguments.items(argument, value, "parts, or a str")
    return [content_part(f"{argument}[{i}]", part) for i, part in enumerate(parts)]
