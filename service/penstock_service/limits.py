"""Checks a request against the limits of the contract and of the model. Pure: no clock, no I/O.

`check` looks at everything that can be judged without tokenizing and reports every wrong field at once;
`check_prompt_length` judges the tokens.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Self

from penstock.v1 import generation_pb2 as pb
from penstock.v1.models_pb2 import Model
from penstock_service.errors import InvalidRequest, Violation


class Range(NamedTuple):
    """An interval of numbers; `above` makes its lower end exclusive."""

    low: float
    high: float
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` is inside; NaN never is."""
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        return f"must be {'above' if self.above else 'at least'} {self.low:g} and at most {self.high:g}"


# Sources: temperature and the two additive penalties as in OpenAI's API; the rest is mathematics or vLLM's own range.
SAMPLING_RANGES = {
    "temperature": Range(0, 2),
    "top_p": Range(0, 1, above=True),
    "min_p": Range(0, 1),
    "frequency_penalty": Range(-2, 2),
    "presence_penalty": Range(-2, 2),
    "repetition_penalty": Range(0, 10, above=True),
}

MOST_MESSAGES = 2048
MOST_PARTS = 64
# vLLM scans the output for every stop text after every token, and itself bounds neither their number nor their length.
MOST_STOP_TEXTS = 16
MOST_STOP_BYTES = 128
MOST_STOP_TOKENS = 128
MOST_DELAY_MS = 1000
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/=+-]{0,128}")


class ModelLimits(NamedTuple):
    """What the served model allows; the fields are those of the contract's Model."""

    context_length: int
    vocabulary_size: int
    max_prompt_bytes: int

    @classmethod
    def of(cls, model: Model) -> Self:
        """The limits that `model` announces."""
        return cls(model.context_length, model.vocabulary_size, model.max_prompt_bytes)


def check(request: pb.GenerateRequest, limits: ModelLimits) -> None:
    """Raise InvalidRequest with every field of `request` that is wrong by itself."""
    wrong = list(islice(_violations(request, limits), InvalidRequest.MOST_VIOLATIONS + 1))
    too_long = list(_size_violations(request, limits))
    if wrong or too_long:
        raise InvalidRequest([*wrong, *too_long], reason="INVALID_FIELD" if wrong else "CONTEXT_LENGTH")


def _violations(request: pb.GenerateRequest, limits: ModelLimits) -> Iterator[Violation]:
    yield from _input_violations(request, limits)
    yield from _sampling_violations(request.sampling, limits)
    yield from _stopping_violations(request.stopping, limits)
    yield from _response_violations(request)


def check_prompt_length(tokens: int, field: str, limits: ModelLimits) -> None:
    """Raise InvalidRequest when a prompt of `tokens` leaves no room in the context for one more."""
    if tokens >= limits.context_length:
        raise InvalidRequest([_too_many_tokens(tokens, field, limits)], reason="CONTEXT_LENGTH")


def _too_many_tokens(tokens: int, field: str, limits: ModelLimits) -> Violation:
    most = limits.context_length - 1
    return Violation(field, f"has {tokens} tokens; the context of {limits.context_length} has room for {most} at most")


def _input_violations(request: pb.GenerateRequest, limits: ModelLimits) -> Iterator[Violation]:
    match request.WhichOneof("input"):
        case None:
            yield Violation("input", "is missing: set one of prompt, token_ids or conversation")
        case "prompt" if not request.prompt:
            yield Violation("prompt", "must not be empty")
        case "token_ids" if not request.token_ids.ids:
            yield Violation("token_ids.ids", "must hold at least one token")
        case "token_ids" if len(request.token_ids.ids) < limits.context_length:  # more are refused by their number
            yield from _vocabulary_violations("token_ids.ids", request.token_ids.ids, limits)
        case "conversation":
            yield from _conversation_violations(request.conversation)


def _size_violations(request: pb.GenerateRequest, limits: ModelLimits) -> Iterator[Violation]:
    if len(request.token_ids.ids) >= limits.context_length:
        yield _too_many_tokens(len(request.token_ids.ids), "token_ids.ids", limits)
    for field, size in (("prompt", _size(request.prompt)), ("conversation", _conversation_size(request.conversation))):
        if size > limits.max_prompt_bytes:
            most = limits.max_prompt_bytes
            yield Violation(field, f"has {size} bytes; more than {most} cannot fit the model's context")


def _conversation_size(conversation: pb.Conversation) -> int:
    # A message of permitted size can hold millions of empty turns, which are refused by their number.
    messages = islice(conversation.messages, MOST_MESSAGES)
    return sum(_size(part.text) for message in messages for part in islice(message.content, MOST_PARTS))


def _size(text: str) -> int:
    return len(text.encode())


def _vocabulary_violations(field: str, ids: Sequence[int], limits: ModelLimits) -> Iterator[Violation]:
    if not ids or (min(ids) >= 0 and max(ids) < limits.vocabulary_size):  # at C speed: prompts can be long
        return
    outside = ((position, token) for position, token in enumerate(ids) if not 0 <= token < limits.vocabulary_size)
    for position, token in islice(outside, InvalidRequest.MOST_VIOLATIONS):
        yield Violation(f"{field}[{position}]", f"must be from 0 to {limits.vocabulary_size - 1}, got {token}")


def _conversation_violations(conversation: pb.Conversation) -> Iterator[Violation]:
    count = len(conversation.messages)
    if not 1 <= count <= MOST_MESSAGES:
        yield Violation("conversation.messages", f"must be 1 to {MOST_MESSAGES} messages, got {count}")
        return
    for position, message in enumerate(conversation.messages):
        yield from _message_violations(f"conversation.messages[{position}]", message)


def _message_violations(field: str, message: pb.Message) -> Iterator[Violation]:
    if message.role == pb.ROLE_UNSPECIFIED or message.role not in pb.Role.values():
        yield Violation(f"{field}.role", f"must be one of {', '.join(pb.Role.keys()[1:])}, got {message.role}")
    if not 1 <= len(message.content) <= MOST_PARTS:
        yield Violation(f"{field}.content", f"must be 1 to {MOST_PARTS} parts, got {len(message.content)}")
        return
    for position, part in enumerate(message.content):
        if part.WhichOneof("part") is None:
            yield Violation(f"{field}.content[{position}]", "has no part: set text")


def _sampling_violations(sampling: pb.SamplingOptions, limits: ModelLimits) -> Iterator[Violation]:
    for name, allowed in SAMPLING_RANGES.items():
        value = getattr(sampling, name)
        if sampling.HasField(name) and not allowed.holds(value):
            yield Violation(f"sampling.{name}", f"{allowed}, got {value:g}")
    if not 0 <= sampling.top_k <= limits.vocabulary_size:
        yield Violation("sampling.top_k", f"must be from 0 to {limits.vocabulary_size}, got {sampling.top_k}")


def _stopping_violations(stopping: pb.StoppingOptions, limits: ModelLimits) -> Iterator[Violation]:
    if stopping.HasField("max_tokens") and stopping.max_tokens < 1:
        yield Violation("stopping.max_tokens", f"must be at least 1, got {stopping.max_tokens}")
    most = stopping.max_tokens if stopping.HasField("max_tokens") else limits.context_length
    if not 0 <= stopping.min_tokens <= max(most, 1):
        yield Violation("stopping.min_tokens", f"must be from 0 to max_tokens ({most}), got {stopping.min_tokens}")
    if len(stopping.stop) > MOST_STOP_TEXTS:
        yield Violation("stopping.stop", f"must be at most {MOST_STOP_TEXTS} texts, got {len(stopping.stop)}")
    for position, text in enumerate(stopping.stop[:MOST_STOP_TEXTS]):
        if not 1 <= (size := _size(text)) <= MOST_STOP_BYTES:
            yield Violation(f"stopping.stop[{position}]", f"must have 1 to {MOST_STOP_BYTES} bytes, got {size}")
    if len(stopping.stop_token_ids) > MOST_STOP_TOKENS:
        count = len(stopping.stop_token_ids)
        yield Violation("stopping.stop_token_ids", f"must be at most {MOST_STOP_TOKENS} tokens, got {count}")
    yield from _vocabulary_violations("stopping.stop_token_ids", stopping.stop_token_ids[:MOST_STOP_TOKENS], limits)


def _response_violations(request: pb.GenerateRequest) -> Iterator[Violation]:
    if request.stopping.stop and request.response.HasField("text") and not request.response.text:
        yield Violation("response.text", "must not be false with stopping.stop, which is found in the text")
    if not 0 <= request.response.max_delay_ms <= MOST_DELAY_MS:
        got = request.response.max_delay_ms
        yield Violation("response.max_delay_ms", f"must be from 0 to {MOST_DELAY_MS}, got {got}")
    if not REQUEST_ID.fullmatch(request.request_id):
        size = len(request.request_id)
        yield Violation("request_id", f"must be at most 128 of A-Z a-z 0-9 . _ : / = + -, got {size} characters")
