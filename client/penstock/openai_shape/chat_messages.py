"""OpenAI's messages, where they are not the contract's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.errors import BadRequestError


def chat_messages(value: object) -> list[object]:
    """The messages as `penstock.requests` reads them. Raises BadRequestError with `param`."""
    if value is None:
        raise BadRequestError("messages is required", param="messages")
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise BadRequestError(f"messages must be a list, not {type(value).__name__}", param="messages")
    return [_message(f"messages[{i}]", message) for i, message in enumerate(value)]


def _message(place: str, message: object) -> object:
    """OpenAI allows a message without content, and the message of an answer itself among the messages."""
    if hasattr(message, "model_dump"):
        message = message.model_dump(exclude_none=True)
    if not isinstance(message, Mapping):
        return message
    for name in ("function_call", "audio"):
        if message.get(name):
            raise BadRequestError(f"{place}.{name} is not supported", param=f"{place}.{name}")
    if message.get("content") is None and not message.get("tool_calls"):
        return {**message, "content": ""}
    return message
