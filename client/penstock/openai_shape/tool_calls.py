"""From the contract's tool calls to OpenAI's. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.openai_shape.tool_call_types import Function, FunctionDelta, ToolCall, ToolCallDelta
from penstock.v1 import generation_pb2


def tool_calls(calls: Iterable[generation_pb2.ToolCall]) -> list[ToolCall] | None:
    """The calls of a whole answer; None if there are none."""
    return [ToolCall(call.id, Function(call.name, call.arguments)) for call in calls] or None


def tool_call_deltas(deltas: Iterable[generation_pb2.ToolCallDelta]) -> list[ToolCallDelta] | None:
    """What is new in the calls of a stream; None if nothing is."""
    return [_delta(delta) for delta in deltas] or None


def _delta(delta: generation_pb2.ToolCallDelta) -> ToolCallDelta:
    function = FunctionDelta(delta.arguments, delta.name or None)
    return ToolCallDelta(delta.index, function, delta.id or None, "function" if delta.id else None)
