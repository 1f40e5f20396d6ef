"""`penstock-serve` as a process of its own."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

FREE_PORTS = ["--grpc-port", "0", "--health-port", "0", "--metrics-port", "none"]
SIMULATED = ["--engine", "simulated", *FREE_PORTS]


class Server:
    """A `penstock-serve` process and the lines of its log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def line(self, event: str) -> dict[str, Any]:
        """The next log line of that event."""
        assert self.process.stderr is not None
        while text := await self.process.stderr.readline():
            if not text.startswith(b"{"):
                continue  # vLLM's own
            self.lines.append(json.loads(text))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        pytest.fail(f"no line {event!r} in {self.lines}")


@asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock_service", *arguments, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Server(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
