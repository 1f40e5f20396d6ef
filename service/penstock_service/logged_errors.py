"""An exception as a log may hold it: which, where, and after which. What it says can be a caller's text.

An engine's exceptions quote prompts, a parser's what the model wrote. Types, frames and lines of code find most bugs;
the log at level debug has the messages too. Of the operating system's errors the meaning of their number is told.
"""

import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from itertools import islice
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

MOST_FIELD_CHARACTERS = 256  # of what callers may choose the length of
_STACKS = ("exception", "stacks")  # fields with our own frames
_MOST_EXCEPTION_CHARACTERS = 16 << 10
_MOST_IN_CHAIN = 8

log = structlog.get_logger()


def summary(error: BaseException) -> str:
    """The type of an exception in one line."""
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    return f"{name}: {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else name


def without_messages(error: BaseException) -> str:
    """The exception and those that led to it, the first one first, each with its frames."""
    return "\nthen\n".join(_one(each) for each in reversed(list(islice(_chain(error), _MOST_IN_CHAIN))))


def with_messages(error: BaseException) -> str:
    """As Python writes it, for an exception that knows no caller's text, such as one of the start."""
    return "".join(traceback.format_exception(error))


def exceptions(level: str) -> Processor:
    """Replaces `exc_info` in a line of the log by `exception`."""
    text_of = with_messages if level == "debug" else without_messages

    def processor(_logger: object, _method: str, line: EventDict) -> EventDict:
        if (error := _error_in(line.pop("exc_info", None))) is not None:
            line["exception"] = text_of(error)[:_MOST_EXCEPTION_CHARACTERS]
        return line

    return processor


def shortened(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Cuts what is long in a line of the log."""
    for name, value in line.items():
        if name not in _STACKS and isinstance(value, str) and len(value) > MOST_FIELD_CHARACTERS:
            line[name] = value[: MOST_FIELD_CHARACTERS - 3] + "..."
    return line


def log_unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The event loop's handler of what nobody handles. Its own would print results of tasks, which hold messages."""
    task = context.get("task") or context.get("future")
    name = task.get_name() if isinstance(task, asyncio.Task) else None
    log.error("unhandled", what=context.get("message"), task=name, exc_info=context.get("exception"))


def _error_in(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, what is inside it if it is a group, and what led to it."""
    yield error
    for each in getattr(error, "exceptions", ()):
        yield from _chain(each)
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _chain(before)


def _one(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__, limit=-32)
    return f"{summary(error)}\n{''.join(frames.format())}".rstrip()


def foreign_handler(processors: list[Processor]) -> logging.Handler:
    """Writes what libraries log to stderr, as the service's own lines are written."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *processors],
        )
    )
    return handler
