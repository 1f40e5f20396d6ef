"""From Ollama's messages to OpenAI's. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from penstock.errors import BadRequestError

_Fields = Mapping[str, Any]


def openai_messages(value: object) -> list[dict[str, Any]]:
    """The messages, with pictures as parts and calls of tools with the ids that OpenAI's have.

    Ollama's calls need no ids: a tool's message answers the first call of its tool that is still open. Raises
    BadRequestError for one that answers none.
    """
    if not isinstance(value, list):
        raise BadRequestError("messages must be a list", param="messages")
    open_calls: list[tuple[str, str]] = []  # of id and name
    return [_message(f"messages[{i}]", message, i, open_calls) for i, message in enumerate(value)]


def _message(place: str, message: object, position: int, open_calls: list[tuple[str, str]]) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise BadRequestError(f"{place} must be an object, not {type(message).__name__}", param=place)
    translated: dict[str, Any] = {"role": message.get("role"), "content": _content(message)}
    if message.get("thinking"):
        translated["reasoning"] = message["thinking"]
    if message.get("tool_calls"):
        translated["tool_calls"] = list(_calls(f"{place}.tool_calls", message["tool_calls"], position))
        open_calls[:] = [(call["id"], call["function"].get("name")) for call in translated["tool_calls"]]
    if message.get("role") == "tool":
        translated["tool_call_id"] = message.get("tool_call_id") or _answered(place, message, open_calls)
    return translated


def _content(message: _Fields) -> object:
    pictures = message.get("images")
    if not pictures:
        return message.get("content")
    if not isinstance(pictures, list) or not all(isinstance(picture, str) for picture in pictures):
        raise BadRequestError("images must be a list of base64 texts", param="images")
    urls = [f"data:;base64,{picture}" for picture in pictures]
    return [
        {"type": "text", "text": message.get("content") or ""},
        *({"type": "image_url", "image_url": {"url": url}} for url in urls),
    ]


def _calls(place: str, calls: object, position: int) -> Iterator[dict[str, Any]]:
    for number, call in enumerate(calls if isinstance(calls, list) else [None]):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise BadRequestError(f"{place} must be a list of objects with function", param=place)
        yield {"id": call.get("id") or f"call-{position}-{number}", "type": "function", "function": function}


def _answered(place: str, message: _Fields, open_calls: list[tuple[str, str]]) -> str:
    wanted = message.get("tool_name") or message.get("name")
    for call in open_calls:
        if wanted in (None, call[1]):
            open_calls.remove(call)
            return call[0]
    raise BadRequestError(f"{place} answers no call of a tool", param=place)
