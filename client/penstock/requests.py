"""From keyword arguments to a GenerateRequest. Pure.

Types are checked here, so that a mistake is named where it was made; ranges are the server's to check, because it knows
the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from penstock import arguments
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.v1.generation_pb2 import (
    ContentPart,
    Conversation,
    GenerateRequest,
    Message,
    OnDeadline,
    Role,
    TokenIds,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

MessageLike = Mapping[str, object] | Message


class GenerateOptions(TypedDict, total=False):
    """The keyword arguments of `generate` and `stream`; None is the same as absent.

    Exactly one of the prompt, `messages` and `token_ids` is needed. Ranges and defaults are those of
    `penstock/v1/generation.proto`.
    """

    messages: Iterable[MessageLike] | None  # {"role": ..., "content": text or list of {"type": "text", "text": ...}}
    token_ids: Iterable[int] | None
    model: str | None
    request_id: str | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    repetition_penalty: float | None
    seed: int | None
    max_tokens: int | None
    min_tokens: int | None
    stop: str | Sequence[str] | None
    stop_token_ids: Iterable[int] | None
    include_stop: bool | None
    ignore_eos: bool | None
    return_text: bool | None  # ResponseOptions.text
    return_token_ids: bool | None  # ResponseOptions.token_ids
    max_delay_ms: int | None
    priority: int | None
    on_deadline: Literal["fail", "return_partial"] | None


def generate_request(prompt: str | None = None, **options: Unpack[GenerateOptions]) -> GenerateRequest:
    """The request for `prompt` and `options`.

    Raises TypeError for an unknown keyword; ArgumentTypeError and ArgumentValueError for a wrong argument.
    """
    given: dict[str, object] = {"prompt": prompt, **options}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        if name not in _FIELDS:
            raise TypeError(f"unexpected keyword argument {name!r}")
        if value is not None:
            group, field, read = _FIELDS[name]
            groups.setdefault(group, {})[field] = read(name, value)
    top = groups.pop(_TOP, {})
    _require_one_input(top)
    return GenerateRequest(**top, **groups)  # type: ignore[arg-type]


def _require_one_input(top: Mapping[str, object]) -> None:
    inputs = [name for name, field in _INPUTS.items() if field in top]
    if not inputs:
        raise ArgumentValueError("prompt", "or messages or token_ids is required")
    if len(inputs) > 1:
        raise ArgumentValueError(inputs[1], f"cannot go with {inputs[0]}: a request has one input")


_ROLES: dict[str, Role] = {
    "system": Role.ROLE_SYSTEM,
    "developer": Role.ROLE_DEVELOPER,
    "user": Role.ROLE_USER,
    "assistant": Role.ROLE_ASSISTANT,
}


def _conversation(argument: str, value: object) -> Conversation:
    messages = arguments.items(argument, value, "messages")
    return Conversation(messages=[_message(f"{argument}[{i}]", message) for i, message in enumerate(messages)])


def _message(argument: str, value: object) -> Message:
    if isinstance(value, Message):
        return value
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(argument, "a dict with role and content", value)
    role = arguments.one_of(f"{argument}.role", value.get("role"), _ROLES)
    return Message(role=_ROLES[role], content=_content(f"{argument}.content", value.get("content")))


def _content(argument: str, value: object) -> list[ContentPart]:
    if isinstance(value, str):
        return [ContentPart(text=arguments.text(argument, value))]
    parts = arguments.items(argument, value, "parts, or a str")
    return [_part(f"{argument}[{i}]", part) for i, part in enumerate(parts)]


def _part(argument: str, value: object) -> ContentPart:
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(argument, 'a dict like {"type": "text", "text": ...}', value)
    kind = arguments.text(f"{argument}.type", value.get("type"))
    if kind != "text":
        raise ArgumentValueError(f"{argument}.type", f"is {kind[:32]!r}; only 'text' is supported")
    return ContentPart(text=arguments.text(f"{argument}.text", value.get("text")))


def _token_ids(argument: str, value: object) -> TokenIds:
    return TokenIds(ids=arguments.integers(argument, value))


_ON_DEADLINE: dict[str, OnDeadline] = {
    "fail": OnDeadline.ON_DEADLINE_FAIL,
    "return_partial": OnDeadline.ON_DEADLINE_RETURN_PARTIAL,
}


def _on_deadline(argument: str, value: object) -> OnDeadline:
    return _ON_DEADLINE[arguments.one_of(argument, value, _ON_DEADLINE)]


_TOP = ""  # the group of the fields that are in no group

# The argument's name -> the group in the request, the field in the group, how the value is read.
_FIELDS: dict[str, tuple[str, str, Callable[[str, object], object]]] = {
    "prompt": (_TOP, "prompt", arguments.text),
    "token_ids": (_TOP, "token_ids", _token_ids),
    "messages": (_TOP, "conversation", _conversation),
    "model": (_TOP, "model", arguments.text),
    "request_id": (_TOP, "request_id", arguments.text),
    "temperature": ("sampling", "temperature", arguments.number),
    "top_p": ("sampling", "top_p", arguments.number),
    "top_k": ("sampling", "top_k", arguments.integer),
    "min_p": ("sampling", "min_p", arguments.number),
    "frequency_penalty": ("sampling", "frequency_penalty", arguments.number),
    "presence_penalty": ("sampling", "presence_penalty", arguments.number),
    "repetition_penalty": ("sampling", "repetition_penalty", arguments.number),
    "seed": ("sampling", "seed", arguments.long_integer),
    "max_tokens": ("stopping", "max_tokens", arguments.integer),
    "min_tokens": ("stopping", "min_tokens", arguments.integer),
    "stop": ("stopping", "stop", arguments.texts),
    "stop_token_ids": ("stopping", "stop_token_ids", arguments.integers),
    "include_stop": ("stopping", "include_stop", arguments.flag),
    "ignore_eos": ("stopping", "ignore_eos", arguments.flag),
    "return_text": ("response", "text", arguments.flag),
    "return_token_ids": ("response", "token_ids", arguments.flag),
    "max_delay_ms": ("response", "max_delay_ms", arguments.integer),
    "priority": (_TOP, "priority", arguments.integer),
    "on_deadline": (_TOP, "on_deadline", _on_deadline),
}

_INPUTS = {name: _FIELDS[name][1] for name in ("prompt", "messages", "token_ids")}
