"""Server-sent events as OpenAI's clients read them: `data: ` with the space, one line, a blank line; no other field.

An `id:` line would make openai-python dispatch an empty event at the next blank line; `event:` and `retry:` are left
out for parsers that know `data:` alone. Pure.
"""

from __future__ import annotations

import json

from penstock.openai_shape.errors import error_response
from penstock.openai_shape.types import ChatCompletionChunk, Completion

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # nginx would otherwise hold the stream back until its buffer is full
}
DONE = b"data: [DONE]\n\n"

# Raw in JSON, yet line ends to readers that use str.splitlines, httpx's among them.
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def chunk_event(chunk: ChatCompletionChunk | Completion) -> bytes:
    """The event for a piece of an answer."""
    return event(chunk.model_dump_json(exclude_unset=True))


def error_event(error: Exception) -> bytes:
    """The event for a failure after the first piece. No DONE follows it."""
    return event(json.dumps({"error": error_response(error).body["error"]}))


def event(json_line: str) -> bytes:
    """One event that carries a JSON text without line breaks."""
    if not json_line.isascii():
        json_line = json_line.translate(_LINE_ENDS)
    return b"data: " + json_line.encode() + b"\n\n"
