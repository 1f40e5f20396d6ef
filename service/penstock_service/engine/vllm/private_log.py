"""Keeps callers' prompts and the model's answers out of vLLM's log.

By default (0.32.0) it logs the scheduler's output of a step that failed, in which prompts are left out, but stop texts,
bad words, schemas, choices and pictures are not; several of its parsers quote an answer that they cannot read; and the
errors that it logs, with their frames or within a sentence, can quote what it was at. Whatever the operator makes of
vLLM's handlers, the records are changed as they are made.

Declared as a plugin of vLLM (service/pyproject.toml), because the engine's own process logs as well. With
VLLM_LOGGING_LEVEL=DEBUG everything is logged, and with --enable-log-requests every prompt: that is what they are for.
"""

import functools
import logging
import multiprocessing
import re
import sys
import threading
import traceback
from typing import Any

from penstock_service.logged_errors import summary, without_messages

_VLLM = "vllm."
_STEP_DUMP = "Dumping scheduler output"
_PARSERS = ("vllm.tool_parsers", "vllm.reasoning", "vllm.parser", "vllm.entrypoints.openai")
# Numbers and ids of ours: whatever a caller writes that looks alike, there is no text in it.
_TOLD = re.compile(
    r"\b(req_id|prompt_token_ids_len|num_computed_tokens|total_num_scheduled_tokens)=([0-9a-f-]{1,64})\b"
)
_MOST_TOLD = 2048
# Nobody has called yet, and why there is no engine is for the operator to read (v1/engine/core.py and others).
_AT_THE_START = "failed to start."


@functools.cache
def register() -> None:
    """Guard the log of this process. Loading it again changes nothing."""
    made = logging.getLogRecordFactory()

    def private(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = made(*args, **kwargs)
        if record.name.startswith(_VLLM) and not _is_everything_told():
            _leave_out_texts(record)
        return record

    logging.setLogRecordFactory(private)
    if multiprocessing.parent_process() is not None:  # the engine's own, or a worker's
        _guard_uncaught_errors()


def _is_everything_told() -> bool:
    return logging.getLogger("vllm").isEnabledFor(logging.DEBUG)


def _guard_uncaught_errors() -> None:
    """What ends a process or a thread is printed by Python itself, past every logger."""
    traceback.print_exc = lambda *_args, **_options: _print(sys.exc_info()[1])  # multiprocessing's way
    sys.excepthook = lambda _type, error, _frames: _print(error)
    threading.excepthook = lambda uncaught: _print(uncaught.exc_value)


def _print(error: BaseException | None) -> None:
    if error is None or _is_everything_told():
        traceback.print_exception(error)
    else:
        sys.stderr.write(without_messages(error) + "\n")


def _leave_out_texts(record: logging.LogRecord) -> None:
    """Take out of a record of vLLM's what may be a caller's text."""
    if record.name.startswith(_PARSERS):
        kind = f" ({record.exc_info[0].__name__})" if record.exc_info and record.exc_info[0] else ""
        record.msg, record.args = f"a parser's words{kind} are left out: they may quote the answer", ()
        record.exc_info = None
    elif str(record.msg).startswith(_STEP_DUMP):
        told = (f"{name}={value}" for name, value in _TOLD.findall(record.getMessage())[:_MOST_TOLD])
        record.msg, record.args = "The step that failed: %s", (", ".join(told),)
    elif not str(record.msg).endswith(_AT_THE_START):
        _leave_out_messages(record)


def _leave_out_messages(record: logging.LogRecord) -> None:
    """Tell of an error which it is and where, not what it says: of a chat template's that may be the prompt."""
    if isinstance(record.args, tuple):
        record.args = tuple(summary(each) if isinstance(each, BaseException) else each for each in record.args)
    if record.exc_info and record.exc_info[1]:
        record.exc_text, record.exc_info = without_messages(record.exc_info[1]), None
