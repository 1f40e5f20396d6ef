"""Exceptions in the log: which and where, and never what they say."""

import asyncio
import errno
import json
import sys
from collections.abc import Callable

import pytest
import structlog

from penstock_service.logged_errors import exceptions, log_unhandled, shortened, summary, without_messages
from tests.programs import run_program

CANARY = "canary-7f3a"


def raised(fail: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        fail()
    return caught.value


def in_a_chain() -> None:
    try:
        {}[CANARY]
    except KeyError as error:
        raise ValueError(CANARY) from error


def test_types_and_places_are_told_and_what_they_say_is_not() -> None:
    text = without_messages(raised(in_a_chain))

    first, last = text.split("\nthen\n")
    assert first.startswith("KeyError\n")
    assert last.startswith("ValueError\n")
    assert "in in_a_chain\n    raise ValueError(CANARY) from error" in last
    assert CANARY not in text


def test_a_group_tells_what_is_in_it() -> None:
    async def fail() -> None:
        in_a_chain()

    async def together() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())

    text = without_messages(raised(lambda: asyncio.run(together())))

    assert CANARY not in text
    assert [part.split("\n")[0] for part in text.split("\nthen\n")] == ["KeyError", "ValueError", "ExceptionGroup"]


def test_of_the_operating_system_the_meaning_of_its_number_is_told() -> None:
    assert summary(OSError(errno.ENOSPC, CANARY, CANARY)) == "OSError: No space left on device"
    assert summary(OSError(CANARY)) == "OSError"
    assert summary(json.JSONDecodeError(CANARY, CANARY, 0)) == "json.decoder.JSONDecodeError"


def test_at_level_debug_everything_is_told() -> None:
    line = exceptions("debug")(None, "error", {"event": "internal error", "exc_info": raised(in_a_chain)})

    assert CANARY in line["exception"]
    assert "exc_info" not in line


def test_a_long_exception_and_a_long_field_are_cut() -> None:
    def deep(frames: int) -> None:
        raise ValueError if not frames else deep(frames - 1)  # type: ignore[misc]

    line = exceptions("info")(None, "error", {"exc_info": raised(lambda: deep(500)), "error": "x" * 5000})

    assert len(line["exception"]) <= 16 << 10
    assert len(shortened(None, "error", line)["error"]) == 256


async def test_what_a_task_of_the_loop_raised_is_told_like_that() -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(log_unhandled)
    try:
        with structlog.testing.capture_logs() as lines:
            loop.call_soon(in_a_chain)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(before)

    (line,) = lines
    assert (line["event"], type(line["exc_info"])) == ("unhandled", ValueError)


LOGGING_LIBRARY = """
import logging, sys
{configure}
try:
    raise ValueError("{canary}")
except ValueError:
    logging.getLogger("library").exception("it %s", "failed")
"""


@pytest.mark.parametrize(
    "configure",
    [
        "from penstock_service.call_log import configure_log; configure_log('info')",
        "from penstock_gateway.log import configure; configure('info')",
    ],
    ids=["service", "gateway"],
)
def test_what_libraries_log_is_a_line_like_the_others(configure: str) -> None:
    ran = run_program(sys.executable, "-c", LOGGING_LIBRARY.format(configure=configure, canary=CANARY))

    (line,) = map(json.loads, ran.stderr.splitlines())
    assert (line["event"], line["level"], line["logger"]) == ("it failed", "error", "library")
    assert line["exception"].startswith("ValueError\n")
