"""Conversations in the terms of chat templates: pure functions from the contract's messages."""

import json
from typing import Any

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.vllm.special_tokens import Hidden

_ROLES = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_DEVELOPER: "developer",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
    pb.ROLE_TOOL: "tool",
}
_EFFORTS = {
    pb.REASONING_EFFORT_NONE: "none",
    pb.REASONING_EFFORT_LOW: "low",
    pb.REASONING_EFFORT_MEDIUM: "medium",
    pb.REASONING_EFFORT_HIGH: "high",
}
# vLLM's parts for pictures and sounds. Templates see where they are; what is in them joins the tokens.
_MEDIA: dict[str | None, dict[str, Any]] = {
    "image": {"type": "image_pil", "image_pil": None},
    "audio": {"type": "input_audio", "input_audio": None},
}
_NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}


def chat_messages(conversation: pb.Conversation, hidden: Hidden | None = None) -> list[dict[str, Any]]:
    """The messages as chat templates know them, without the special tokens in their texts, which go to `hidden`."""
    return [_message(message, hidden) for message in conversation.messages]


def template_tools(request: pb.GenerateRequest | pb.TokenizeRequest) -> list[dict[str, Any]]:
    """The tools as chat templates know them, which is how OpenAI writes them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": json.loads(tool.parameters) if tool.parameters else _NO_ARGUMENTS,
            },
        }
        for tool in request.tools
    ]


def template_arguments(request: pb.GenerateRequest) -> dict[str, Any]:
    """The variables of the chat template that the request sets."""
    conversation, reasoning = request.conversation, request.reasoning
    named = ((name, value.WhichOneof("value"), value) for name, value in conversation.template_arguments.items())
    arguments: dict[str, Any] = {name: getattr(value, kind) for name, kind, value in named if kind is not None}
    if reasoning.effort:
        arguments["reasoning_effort"] = _EFFORTS[reasoning.effort]
        arguments["enable_thinking"] = reasoning.effort != pb.REASONING_EFFORT_NONE
    if reasoning.HasField("enabled"):
        arguments["enable_thinking"] = reasoning.enabled
    continues = conversation.continue_final_message
    asks = conversation.add_generation_prompt if conversation.HasField("add_generation_prompt") else not continues
    if request.tools and request.tool_choice.mode != pb.TOOL_CHOICE_MODE_NONE:
        arguments["tools"] = template_tools(request)
    return {**arguments, "add_generation_prompt": asks, "continue_final_message": continues}


def _message(message: pb.Message, hidden: Hidden | None) -> dict[str, Any]:
    said: dict[str, Any] = {"role": _ROLES[message.role], "content": _content(message, hidden)}
    if message.tool_calls:
        said["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    for name in ("tool_call_id", "name"):
        if text := getattr(message, name):
            said[name] = hidden.hide(text) if hidden is not None else text
    if message.reasoning:
        said["reasoning"] = hidden.hide_control(message.reasoning) if hidden is not None else message.reasoning
    return said


def _tool_call(call: pb.ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}


def _arguments(call: pb.ToolCall) -> str:
    """What the model wrote, if it is an object.

    Of anything else vLLM makes no arguments too, but with a line of its log for each that quotes the call's name
    (renderers/chat_utils.py), and it would fail on what Python cannot hold.
    """
    try:
        is_object = isinstance(json.loads(call.arguments), dict)
    except (ValueError, RecursionError):
        is_object = False
    return call.arguments if is_object else "{}"


def _content(message: pb.Message, hidden: Hidden | None) -> str | list[dict[str, Any]] | None:
    parts = message.content
    if not parts:
        return None
    texts = _texts(message, hidden)
    if len(parts) == 1 and parts[0].WhichOneof("part") == "text":
        return texts[0]
    kinds = (part.WhichOneof("part") for part in parts)
    return [_MEDIA.get(kind) or {"type": "text", "text": text} for kind, text in zip(kinds, texts, strict=True)]


def _texts(message: pb.Message, hidden: Hidden | None) -> list[str]:
    texts = [part.text for part in message.content]
    if hidden is None:
        return texts
    if message.role == pb.ROLE_ASSISTANT:
        return [hidden.hide_control(text) for text in texts]
    return hidden.hide_parts(texts)
