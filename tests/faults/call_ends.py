"""When the calls of a service in this process ended, by the line that each leaves when it holds nothing any more."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog


class CallEnds:
    """Moments of time.monotonic() and statuses, by the caller's request_id."""

    def __init__(self) -> None:
        self.moments: dict[str, list[float]] = defaultdict(list)
        self.codes: dict[str, str] = {}
        self.complaints: list[str] = []

    def note(self, _logger: object, level: str, line: dict[str, Any]) -> dict[str, Any]:
        """A structlog processor; nothing is written."""
        if level not in ("info", "debug"):
            self.complaints.append(str(line))
        if line["event"] == "call" and (name := line.get("request_id")):
            self.moments[name].append(time.monotonic())
            self.codes[name] = line["code"]
        raise structlog.DropEvent


@contextmanager
def call_ends() -> Iterator[CallEnds]:
    """Note the ends of calls for as long as the block runs, in place of the log."""
    ends, processors = CallEnds(), structlog.get_config()["processors"]
    before = list(processors)
    processors[:] = [ends.note]
    try:
        yield ends
    finally:
        processors[:] = before
