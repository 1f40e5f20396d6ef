"""docs/limits.md, made from the table: `python -m penstock_service.limit_document > docs/limits.md`."""

import sys

from penstock_service.constraint_limits import MOST_DOCUMENT_BYTES, MOST_LEVELS, MOST_PROPERTIES, MOST_REGEX_BYTES
from penstock_service.limit_table import ModelLimits, Range, limits_of

# Numbers that nothing else has stand for what depends on the model.
_MODEL = ModelLimits(
    context_length=1_000_003, vocabulary_size=2_000_003, max_prompt_bytes=3_000_017, max_logprobs=4_000_037
)
_NAMES = {
    _MODEL.context_length - 1: "`context_length` - 1",
    _MODEL.vocabulary_size: "`vocabulary_size`",
    _MODEL.vocabulary_size - 1: "`vocabulary_size` - 1",
    _MODEL.max_logprobs: "`max_logprobs`",
}

_HEAD = """# Limits

What a `GenerateRequest` may say. Every wrong field is named at once, with its limit and its value, in one BadRequest
(INVALID_ARGUMENT, INVALID_FIELD). The names in the table are fields of `Model`; `GetModel` tells this very table for
the served model (`Model.limits`). `[]` stands for each entry, `{key}` and `{value}` for those of a map.

Made from the code: `python -m penstock_service.limit_document > docs/limits.md`.

| Field | Entries | Value | Bytes |
|---|---|---|---|
"""
_TAIL = f"""
The text of a prompt or a conversation, over all its parts, has at most `max_prompt_bytes`, judged before anything is
tokenized, and at most `context_length` - 1 tokens, judged after: INVALID_ARGUMENT, CONTEXT_LENGTH.

Forms (`structured_output`) and schemas of tools have at most {MOST_DOCUMENT_BYTES >> 10} KiB, {MOST_LEVELS} levels and
{MOST_PROPERTIES} properties; regular expressions {MOST_REGEX_BYTES} bytes. They are compiled first in a process of
their own, with 2 s of CPU and 512 MiB of memory.

A call may take until its deadline, `default_deadline_ms` where its caller has set none, and never longer than
`max_deadline_ms`; then it ends with DEADLINE_EXCEEDED, DEADLINE.

`Model.limits` has one more row: the value of `resumable` is at most the server's grace time, in seconds; 0 if it takes
no resumable generations.
"""


def markdown() -> str:
    """The whole page."""
    rows = "".join(
        f"| `{field}` | {_cell(limit.entries)} | {_cell(limit.value)} | {_cell(limit.size)} |\n"
        for field, limit in limits_of(_MODEL).items()
    )
    return _HEAD + rows + _TAIL


def _cell(allowed: Range | None) -> str:
    if allowed is None:
        return ""
    low = "" if allowed.low is None else f"{'above ' if allowed.above else ''}{_number(allowed.low)}"
    return f"{low} or more" if allowed.high is None else f"{low} to {_number(allowed.high)}"


def _number(value: float) -> str:
    return _NAMES.get(int(value)) or (str(int(value)) if value == int(value) else str(value))


if __name__ == "__main__":
    sys.stdout.write(markdown())
