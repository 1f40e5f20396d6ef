"""From keyword arguments to a GenerateRequest. Pure.

Types are checked here, so that a mistake is named where it was made; ranges are the server's to check, because it knows
the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from penstock import arguments
from penstock.arguments import ArgumentValueError
from penstock.conversations import MessageLike, messages, template_arguments
from penstock.tools import tool_choice, tools
from penstock.v1.generation_pb2 import (
    Batch,
    BatchInput,
    Choice,
    Conversation,
    GenerateRequest,
    JsonObject,
    OnDeadline,
    PromptOptions,
    ReasoningEffort,
    TokenIds,
    ToolChoiceMode,
    TruncationSide,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from penstock.generate_options import BatchOptions, GenerateOptions

InputLike = str | Sequence[int] | Sequence[MessageLike] | BatchInput

T = TypeVar("T")
Fields = dict[str, Any]


def generate_request(prompt: str | None = None, **options: Unpack[GenerateOptions]) -> GenerateRequest:
    """The request for `prompt` and `options`.

    Raises TypeError for an unknown keyword; ArgumentTypeError and ArgumentValueError for a wrong argument.
    """
    given: dict[str, object] = {"prompt": prompt, **options}
    fields = _fields(given)
    _require_one_input(given)
    return GenerateRequest(**fields)


def batch_request(inputs: Iterable[InputLike], **options: Unpack[BatchOptions]) -> GenerateRequest:
    """The request for several inputs: each a prompt, a list of token ids, or a list of messages.

    Raises what `generate_request` raises.
    """
    fields = _fields_beside_inputs(options)
    return GenerateRequest(batch=Batch(inputs=_inputs(inputs, fields.pop("conversation", {}))), **fields)


def each_request(inputs: Iterable[InputLike], **options: Unpack[BatchOptions]) -> Iterator[GenerateRequest]:
    """A request of its own for each input, made when it is asked for.

    Raises what `generate_request` raises: at once for the options, later for the inputs.
    """
    fields = _fields_beside_inputs(options)
    each = _inputs(inputs, fields.pop("conversation", {}))
    return (GenerateRequest(**fields, **{_kind(given): getattr(given, _kind(given))}) for given in each)


def prompt_options(options: Mapping[str, object]) -> PromptOptions | None:
    """The options of how a text becomes tokens, if there are any; TypeError for other keywords."""
    for name in options:
        if name not in _FIELDS or _FIELDS[name][0] != "prompt_options":
            raise TypeError(f"unexpected keyword argument {name!r}")
    return PromptOptions(**_fields(options)["prompt_options"]) if options else None


def _fields(given: Mapping[str, object]) -> Fields:
    """The request's fields: values, and a dict for each group that has any."""
    fields: Fields = {}
    for name, value in given.items():
        if name not in _FIELDS:
            raise TypeError(f"unexpected keyword argument {name!r}")
        group, field, read = _FIELDS[name]
        if value is not None and (known := read(name, value)) is not None:
            place = fields.setdefault(group, {}) if group else fields
            place.update(known if field is None else {field: known})
    _require_one_form(given, fields.get("structured_output", {}))
    if "tool_choice" in fields and not fields["tool_choice"].keys() & {"mode", "name"}:
        fields["tool_choice"]["mode"] = ToolChoiceMode.TOOL_CHOICE_MODE_AUTO
    return fields


def _require_one_input(given: Mapping[str, object]) -> None:
    inputs = [name for name in _INPUTS if given.get(name) is not None]
    if not inputs:
        raise ArgumentValueError("prompt", "or messages or token_ids is required")
    if len(inputs) > 1:
        raise ArgumentValueError(inputs[1], f"cannot go with {inputs[0]}: a request has one input")
    for name in _OF_A_CONVERSATION if inputs != ["messages"] else ():
        if given.get(name) is not None:
            raise ArgumentValueError(name, f"cannot go with {inputs[0]}: it is for messages")


def _require_one_form(given: Mapping[str, object], forms: Mapping[str, object]) -> None:
    if len(forms) > 1:
        first, second, *_ = (name for name in given if name in forms)
        raise ArgumentValueError(second, f"cannot go with {first}: an answer has one form")


def _fields_beside_inputs(options: Mapping[str, object]) -> Fields:
    for name in options.keys() & _INPUTS:
        raise TypeError(f"unexpected keyword argument {name!r}: the inputs hold it")
    return _fields(options)


def _inputs(inputs: object, conversation: Mapping[str, Any]) -> Iterator[BatchInput]:
    given = arguments.items("inputs", inputs, "prompts, token ids or messages")
    return (_input(f"inputs[{i}]", each, conversation) for i, each in enumerate(given))


def _kind(given: BatchInput) -> str:
    return given.WhichOneof("input") or "prompt"  # the server says what is wrong with an empty one


def _input(argument: str, value: object, conversation: Mapping[str, Any]) -> BatchInput:
    if isinstance(value, BatchInput):
        return value
    if isinstance(value, str):
        return BatchInput(prompt=arguments.text(argument, value))
    entries = list(arguments.items(argument, value, "token ids or messages, or a str"))
    if entries and hasattr(entries[0], "__index__"):
        return BatchInput(token_ids=_token_ids(argument, entries))
    return BatchInput(conversation=Conversation(messages=messages(argument, entries), **conversation))


def _token_ids(argument: str, value: object) -> TokenIds:
    return TokenIds(ids=arguments.integers(argument, value))


def _logit_bias(argument: str, value: object) -> dict[int, float]:
    biases = arguments.mapping(argument, value, "a dict from token ids to numbers")
    return {
        arguments.integer(f"{argument}'s key", token_id): arguments.number(f"{argument}[{token_id}]", bias)
        for token_id, bias in biases.items()
    }


def _json_object(argument: str, value: object) -> JsonObject | None:
    return JsonObject() if arguments.flag(argument, value) else None


def _choice(argument: str, value: object) -> Choice:
    return Choice(options=arguments.texts(argument, value))


def _one_of(named: Mapping[str, T]) -> Callable[[str, object], T]:
    return lambda argument, value: named[arguments.one_of(argument, value, named)]


_ON_DEADLINE = {
    "fail": OnDeadline.ON_DEADLINE_FAIL,
    "return_partial": OnDeadline.ON_DEADLINE_RETURN_PARTIAL,
}
_EFFORTS = {
    "none": ReasoningEffort.REASONING_EFFORT_NONE,
    "low": ReasoningEffort.REASONING_EFFORT_LOW,
    "medium": ReasoningEffort.REASONING_EFFORT_MEDIUM,
    "high": ReasoningEffort.REASONING_EFFORT_HIGH,
}
_SIDES = {
    "left": TruncationSide.TRUNCATION_SIDE_LEFT,
    "right": TruncationSide.TRUNCATION_SIDE_RIGHT,
}

_TOP = ""  # the group of the fields that are in no group

# The argument's name -> the group in the request, the field in the group, how the value is read. Without a field the
# value is read as the group's fields.
_FIELDS: dict[str, tuple[str, str | None, Callable[[str, object], Any]]] = {
    "prompt": (_TOP, "prompt", arguments.text),
    "token_ids": (_TOP, "token_ids", _token_ids),
    "messages": ("conversation", "messages", messages),
    "add_generation_prompt": ("conversation", "add_generation_prompt", arguments.flag),
    "continue_final_message": ("conversation", "continue_final_message", arguments.flag),
    "template_arguments": ("conversation", "template_arguments", template_arguments),
    "model": (_TOP, "model", arguments.text),
    "request_id": (_TOP, "request_id", arguments.text),
    "idempotency_key": (_TOP, "idempotency_key", arguments.text),
    "priority": (_TOP, "priority", arguments.integer),
    "on_deadline": (_TOP, "on_deadline", _one_of(_ON_DEADLINE)),
    "num_sequences": (_TOP, "num_sequences", arguments.integer),
    "cache_salt": (_TOP, "cache_salt", arguments.text),
    "bypass_prefix_cache": (_TOP, "bypass_prefix_cache", arguments.flag),
    "temperature": ("sampling", "temperature", arguments.number),
    "top_p": ("sampling", "top_p", arguments.number),
    "top_k": ("sampling", "top_k", arguments.integer),
    "min_p": ("sampling", "min_p", arguments.number),
    "frequency_penalty": ("sampling", "frequency_penalty", arguments.number),
    "presence_penalty": ("sampling", "presence_penalty", arguments.number),
    "repetition_penalty": ("sampling", "repetition_penalty", arguments.number),
    "seed": ("sampling", "seed", arguments.long_integer),
    "logit_bias": ("sampling", "logit_bias", _logit_bias),
    "bad_words": ("sampling", "bad_words", arguments.texts),
    "allowed_token_ids": ("sampling", "allowed_token_ids", arguments.integers),
    "max_tokens": ("stopping", "max_tokens", arguments.integer),
    "min_tokens": ("stopping", "min_tokens", arguments.integer),
    "stop": ("stopping", "stop", arguments.texts),
    "stop_token_ids": ("stopping", "stop_token_ids", arguments.integers),
    "include_stop": ("stopping", "include_stop", arguments.flag),
    "ignore_eos": ("stopping", "ignore_eos", arguments.flag),
    "return_text": ("response", "text", arguments.flag),
    "return_token_ids": ("response", "token_ids", arguments.flag),
    "return_settings": ("response", "settings", arguments.flag),
    "max_delay_ms": ("response", "max_delay_ms", arguments.integer),
    "logprobs": ("response", "logprobs", arguments.integer),
    "prompt_logprobs": ("response", "prompt_logprobs", arguments.integer),
    "skip_special_tokens": ("response", "skip_special_tokens", arguments.flag),
    "spaces_between_special_tokens": ("response", "spaces_between_special_tokens", arguments.flag),
    "json_schema": ("structured_output", "json_schema", arguments.json_text),
    "json_object": ("structured_output", "json_object", _json_object),
    "regex": ("structured_output", "regex", arguments.text),
    "choice": ("structured_output", "choice", _choice),
    "grammar": ("structured_output", "grammar", arguments.text),
    "structural_tag": ("structured_output", "structural_tag", arguments.json_text),
    "tools": (_TOP, "tools", tools),
    "tool_choice": ("tool_choice", None, tool_choice),
    "parallel_tool_calls": ("tool_choice", "parallel", arguments.flag),
    "thinking": ("reasoning", "enabled", arguments.flag),
    "reasoning_effort": ("reasoning", "effort", _one_of(_EFFORTS)),
    "max_reasoning_tokens": ("reasoning", "max_tokens", arguments.integer),
    "include_reasoning": ("reasoning", "include", arguments.flag),
    "truncate_prompt_tokens": ("prompt_options", "truncate_tokens", arguments.integer),
    "truncation_side": ("prompt_options", "truncation_side", _one_of(_SIDES)),
    "add_special_tokens": ("prompt_options", "add_special_tokens", arguments.flag),
    "parse_special_tokens": ("prompt_options", "parse_special_tokens", arguments.flag),
}

_INPUTS = ("prompt", "messages", "token_ids")
_OF_A_CONVERSATION = ("add_generation_prompt", "continue_final_message", "template_arguments")
