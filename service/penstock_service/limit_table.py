"""The limits of a GenerateRequest, in one table: `limits.check` judges by it, GetModel and docs/limits.md tell it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, Self

from penstock.v1 import models_pb2
from penstock.v1.models_pb2 import LIMIT_KIND_BYTES, LIMIT_KIND_COUNT, LIMIT_KIND_VALUE, Model

MOST_MODEL_NAME_BYTES = 512
MOST_DELAY_MS = 1000
MOST_MESSAGES = 2048
MOST_PARTS = 64
MOST_PARTS_IN_ALL = 4096  # and tool calls, of a conversation
MOST_BATCH_INPUTS = 64
MOST_TOOLS = 128
MOST_IMAGE_BYTES = 4 << 20


class Range(NamedTuple):
    """An interval of numbers; None is no limit, and `above` makes the lower end exclusive."""

    low: float | None = None
    high: float | None = None
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` is inside; NaN never is."""
        if self.low is not None and not (value > self.low if self.above else value >= self.low):
            return False
        return value <= self.high if self.high is not None else value == value

    def __str__(self) -> str:
        low = "" if self.low is None else f"{'above' if self.above else 'at least'} {_plain(self.low)}"
        high = "" if self.high is None else f"at most {_plain(self.high)}"
        return " and ".join(filter(None, (low, high)))


class Limit(NamedTuple):
    """What may be in one field: how many entries, which numbers, how many bytes of text."""

    entries: Range | None = None
    value: Range | None = None
    size: Range | None = None


# Of one message of a conversation.
MESSAGE_LIMITS = {
    "content": Limit(entries=Range(0, MOST_PARTS)),
    "content[].image.data": Limit(size=Range(1, MOST_IMAGE_BYTES)),
    "content[].image.url": Limit(size=Range(1, 2048)),
    "content[].audio.data": Limit(size=Range(1, MOST_IMAGE_BYTES)),
    "content[].audio.url": Limit(size=Range(1, 2048)),
    "tool_calls": Limit(entries=Range(0, MOST_TOOLS)),
    "tool_calls[].id": Limit(size=Range(1, 128)),
    "tool_calls[].name": Limit(size=Range(1, 64)),
    "tool_call_id": Limit(size=Range(0, 128)),
    "name": Limit(size=Range(0, 128)),
}
# Of what a caller calls its call.
NAME_LIMITS = {"request_id": Limit(size=Range(0, 128)), "idempotency_key": Limit(size=Range(0, 128))}


class ModelLimits(NamedTuple):
    """What the served model allows; the fields are those of the contract's Model."""

    context_length: int
    vocabulary_size: int
    max_prompt_bytes: int
    max_logprobs: int = 20

    @classmethod
    def of(cls, model: Model) -> Self:
        """The limits that `model` announces."""
        return cls(model.context_length, model.vocabulary_size, model.max_prompt_bytes, model.max_logprobs)


@lru_cache
def limits_of(model: ModelLimits) -> Mapping[str, Limit]:
    """The table for a model. Keys are paths; `[]` stands for each entry, `{key}` and `{value}` for those of a map.

    Sources: temperature, the additive penalties and logit_bias as in OpenAI's API; ranges of probabilities are
    mathematics; vLLM itself bounds neither the number of stop texts nor their length, nor sensibly that of sequences,
    and each of them costs every step.
    """
    tokens = Range(0, model.vocabulary_size - 1)
    candidates = Limit(value=Range(0, model.max_logprobs))
    return {
        "model": Limit(size=Range(0, MOST_MODEL_NAME_BYTES)),
        "token_ids.ids": Limit(value=tokens, entries=Range(1)),
        "batch.inputs": Limit(entries=Range(1, MOST_BATCH_INPUTS)),
        "conversation.messages": Limit(entries=Range(1, MOST_MESSAGES)),
        **{f"conversation.messages[].{path}": limit for path, limit in MESSAGE_LIMITS.items()},
        "conversation.template_arguments": Limit(entries=Range(0, 16)),
        "conversation.template_arguments{value}.text": Limit(size=Range(0, 1024)),
        "sampling.temperature": Limit(value=Range(0, 2)),
        "sampling.top_p": Limit(value=Range(0, 1, above=True)),
        "sampling.top_k": Limit(value=Range(0, model.vocabulary_size)),
        "sampling.min_p": Limit(value=Range(0, 1)),
        "sampling.frequency_penalty": Limit(value=Range(-2, 2)),
        "sampling.presence_penalty": Limit(value=Range(-2, 2)),
        "sampling.repetition_penalty": Limit(value=Range(0.01, 10)),
        "sampling.logit_bias": Limit(entries=Range(0, 1024)),
        "sampling.logit_bias{key}": Limit(value=tokens),
        "sampling.logit_bias{value}": Limit(value=Range(-100, 100)),
        "sampling.bad_words": Limit(entries=Range(0, 128), size=Range(1, 128)),
        "sampling.allowed_token_ids": Limit(entries=Range(0, 1024), value=tokens),
        "stopping.max_tokens": Limit(value=Range(1)),
        "stopping.min_tokens": Limit(value=Range(0)),
        "stopping.stop": Limit(entries=Range(0, 16), size=Range(1, 128)),
        "stopping.stop_token_ids": Limit(entries=Range(0, 128), value=tokens),
        "response.max_delay_ms": Limit(value=Range(0, MOST_DELAY_MS)),
        "response.logprobs": candidates,
        "response.prompt_logprobs": candidates,
        "tools": Limit(entries=Range(0, MOST_TOOLS)),
        "tools[].name": Limit(size=Range(1, 64)),
        "tools[].description": Limit(size=Range(0, 4096)),
        "tools[].parameters": Limit(size=Range(0, 64 << 10)),
        "tool_choice.name": Limit(size=Range(1, 64)),
        "reasoning.max_tokens": Limit(value=Range(0)),
        "num_sequences": Limit(value=Range(1, 8)),
        "cache_salt": Limit(size=Range(0, 128)),
        **NAME_LIMITS,
        "prompt_options.truncate_tokens": Limit(value=Range(1, model.context_length - 1)),
    }


def told(model: ModelLimits) -> list[models_pb2.Limit]:
    """The table in the contract's words."""
    kinds = (("entries", LIMIT_KIND_COUNT), ("value", LIMIT_KIND_VALUE), ("size", LIMIT_KIND_BYTES))
    return [
        models_pb2.Limit(field=field, kind=kind, minimum=allowed.low, maximum=allowed.high)
        for field, limit in limits_of(model).items()
        for name, kind in kinds
        if (allowed := getattr(limit, name)) is not None
    ]


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)
