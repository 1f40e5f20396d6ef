"""OpenAI's types of tool calls, field for field."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.openai_shape.shape import Shape


@dataclass(slots=True)
class Function(Shape):
    """What is called; `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(slots=True)
class ToolCall(Shape):
    """A call that the model asks for."""

    id: str
    function: Function
    type: str = "function"


@dataclass(slots=True)
class FunctionDelta(Shape):
    """What is new in a function: its name once, and more of its arguments."""

    arguments: str | None = None
    name: str | None = None

    _OMITTED_IF_NONE = frozenset({"arguments", "name"})


@dataclass(slots=True)
class ToolCallDelta(Shape):
    """What is new in a call: its id and type once. OpenAI's clients concatenate what comes twice."""

    index: int
    function: FunctionDelta
    id: str | None = None
    type: str | None = None

    _OMITTED_IF_NONE = frozenset({"id", "type"})
