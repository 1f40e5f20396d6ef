"""Checks a request against the limits of the contract and of the model. Pure: no clock, no I/O.

`check` looks at everything that can be judged without tokenizing and reports every wrong field at once;
`check_prompt_length` judges the tokens.
"""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain, islice

from penstock.v1 import generation_pb2 as pb
from penstock_service import request_rules
from penstock_service.errors import InvalidRequest, Violation
from penstock_service.limit_check import Checker
from penstock_service.limit_table import (
    MESSAGE_LIMITS,
    MOST_MESSAGES,
    MOST_PARTS_IN_ALL,
    MOST_TOOLS,
    NAME_LIMITS,
    ModelLimits,
    limits_of,
)
from penstock_service.plain_messages import messages_to_check

__all__ = [
    "ModelLimits",
    "check",
    "check_names",
    "check_prompt_length",
    "check_prompt_logprobs",
    "prompt_bytes",
    "text_bytes",
    "too_many_bytes",
]

# Of 30 to 60 bytes each: a first chunk of 2 to 4 MiB, where gRPC clients take 4 unless told otherwise.
MOST_PROMPT_RECORDS = 1 << 16

# Of what is so large and too long anyway nothing else is looked at: each look at a text of 32 MiB, which protobuf
# decodes anew, stops the event loop for 40 ms and more.
_LARGE = 1 << 20

_NAMES = Checker(pb.GenerateRequest.DESCRIPTOR, NAME_LIMITS)
_MESSAGE = Checker(pb.Message.DESCRIPTOR, MESSAGE_LIMITS)


def check(request: pb.GenerateRequest, limits: ModelLimits, unary: bool = False) -> None:
    """Raise InvalidRequest with every field of `request` that is wrong by itself, or in a `unary` call.

    Of a large one whose prompt is too long only that is told.
    The inputs of a batch are not looked into: each is checked as a request of its own.
    """
    if too_many := list(request_rules.too_many_parts(request.conversation)):
        raise InvalidRequest(too_many)  # and not looked at one by one
    size = prompt_bytes(request, enough=limits.max_prompt_bytes)
    too_long = list(_size_violations(request, size, limits))
    if too_long and size > _LARGE:
        raise InvalidRequest(too_long, reason="CONTEXT_LENGTH")
    wrong = list(islice(_violations(request, limits, unary), InvalidRequest.MOST_VIOLATIONS + 1))
    if wrong or too_long:
        raise InvalidRequest([*wrong, *too_long], reason="INVALID_FIELD" if wrong else "CONTEXT_LENGTH")


def check_names(request: pb.GenerateRequest) -> None:
    """Raise InvalidRequest for what is wrong with the caller's names for its call, and look at nothing else."""
    if wrong := [*request_rules.name_violations(request), *_NAMES.violations(request)]:
        raise InvalidRequest(wrong)


def prompt_bytes(request: pb.GenerateRequest, enough: float = math.inf) -> int:
    """How much text there is to tokenize. See text_bytes for `enough`."""
    return text_bytes(request.prompt, enough) or _conversation_bytes(request, enough)


def text_bytes(text: str, enough: float = math.inf) -> int:
    """As UTF-8; of a large text with more characters than `enough` their number: to encode 32 MiB takes 50 ms."""
    return len(text) if text.isascii() or len(text) > max(enough, _LARGE) else len(text.encode())


def too_many_bytes(size: int, most: int) -> str:
    """What is wrong with a text of so many text_bytes."""
    least = "at least " if size > _LARGE else ""
    return f"has {least}{size} bytes; more than {most} cannot fit the model's context"


def check_prompt_length(tokens: int, field: str, limits: ModelLimits) -> None:
    """Raise InvalidRequest when a prompt of `tokens` leaves no room in the context for one more."""
    if tokens >= limits.context_length:
        raise InvalidRequest([_too_many_tokens(tokens, field, limits)], reason="CONTEXT_LENGTH")


def check_prompt_logprobs(tokens: int, response: pb.ResponseOptions) -> None:
    """Raise InvalidRequest when the records of a prompt of `tokens` would be more than a message should carry."""
    records = tokens * (1 + response.prompt_logprobs)
    if response.HasField("prompt_logprobs") and records > MOST_PROMPT_RECORDS:
        sentence = f"would return {records} tokens and candidates for the prompt's {tokens} tokens"
        raise InvalidRequest([Violation("response.prompt_logprobs", f"{sentence}; at most {MOST_PROMPT_RECORDS}")])


@lru_cache
def _checker(limits: ModelLimits) -> Checker:
    """Of all but the messages of a conversation, most of which need no check."""
    inside = "conversation.messages[]."
    table = {path: limit for path, limit in limits_of(limits).items() if not path.startswith(inside)}
    return Checker(pb.GenerateRequest.DESCRIPTOR, table)


def _violations(request: pb.GenerateRequest, limits: ModelLimits, unary: bool) -> Iterator[Violation]:
    to_check = list(messages_to_check(request.conversation))
    yield from request_rules.violations(request, limits.context_length, to_check)
    if unary and request.resumable:
        yield Violation("resumable", "is for streams; an idempotency_key lets a unary call be repeated")
    for field, message in to_check:
        yield from _MESSAGE.violations(message, f"{field}.")
    # Tokens that are too many are refused by their number alone.
    counted = len(request.token_ids.ids) < limits.context_length or request.prompt_options.HasField("truncate_tokens")
    for violation in _checker(limits).violations(request):
        if counted or not violation.field.startswith("token_ids."):
            yield violation


def _size_violations(request: pb.GenerateRequest, size: int, limits: ModelLimits) -> Iterator[Violation]:
    truncated = request.prompt_options.HasField("truncate_tokens")
    if len(request.token_ids.ids) >= limits.context_length and not truncated:
        yield _too_many_tokens(len(request.token_ids.ids), "token_ids.ids", limits)
    if size > (most := limits.max_prompt_bytes):
        field = request.WhichOneof("input") or "input"
        yield Violation(field, too_many_bytes(size, most))


def _conversation_bytes(request: pb.GenerateRequest, enough: float) -> int:
    if request.WhichOneof("input") != "conversation":
        return 0
    # A request of permitted size can hold millions of empty turns and parts, which are refused by their number.
    said = islice(_said(request.conversation.messages[:MOST_MESSAGES]), 2 * MOST_PARTS_IN_ALL)
    tools = (tool.description + tool.parameters for tool in request.tools[:MOST_TOOLS])
    return sum(text_bytes(text, enough) for text in chain(said, tools))


def _said(messages: Iterable[pb.Message]) -> Iterator[str]:
    for message in messages:
        for part in message.content:
            yield part.text
        for call in message.tool_calls:
            yield call.arguments
        if reasoning := message.reasoning:
            yield reasoning


def _too_many_tokens(tokens: int, field: str, limits: ModelLimits) -> Violation:
    most = limits.context_length - 1
    return Violation(field, f"has {tokens} tokens; the context of {limits.context_length} has room for {most} at most")
