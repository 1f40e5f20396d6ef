"""`penstock-serve` as a process of its own for loads: its log goes into a file, and it can have a core to itself.

Programs that start one while gRPC is busy run on asyncio's own event loop. It starts processes by vfork; uvloop forks,
and gRPC's handlers of that crash the child now and then before it begins.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.faults.process_sample import ProcessSample, sample
from tests.rpc.server_process import SIMULATED

START_SECONDS = 120


class ServerUnderLoad:
    """The process, its addresses and what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.address = self.health_address = ""
        self._log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What has been logged of that event so far; a line that is being written comes later."""
        *whole, _ = self._log.read_text(errors="replace").split("\n")
        found = (json.loads(line) for line in whole if line.startswith("{") and f'"{event}"' in line)
        return [line for line in found if line["event"] == event]

    def calls(self) -> list[dict[str, Any]]:
        """The lines of calls that have ended."""
        return self.lines("call")

    def complaints(self) -> list[str]:
        """Lines that no server should write: warnings, errors, and what Python says of its own."""
        lines, quiet = self._log.read_text(errors="replace").splitlines(), ('"level": "info"', '"level": "debug"')
        return [line for line in lines if not any(level in line for level in quiet)]

    def sample(self) -> ProcessSample:
        return sample(self.pid)

    async def line(self, event: str) -> dict[str, Any]:
        """The first line of that event, once it is there."""
        async with asyncio.timeout(START_SECONDS):
            while not (found := self.lines(event)):
                if self.process.returncode is not None:
                    said = self._log.read_text()[-2000:]
                    raise RuntimeError(f"the server has ended with {self.process.returncode}: {said}")
                await asyncio.sleep(0.02)
        return found[0]

    async def ready(self) -> None:
        ports = await self.line("listening")
        self.address = f"127.0.0.1:{ports['grpc_port']}"
        self.health_address = f"127.0.0.1:{ports['health_port']}"
        await self.line("loaded")


@asynccontextmanager
async def server_under_load(
    *arguments: str, core: int | None = None, program: tuple[str, ...] = ("-m", "penstock_service", *SIMULATED)
) -> AsyncIterator[ServerUnderLoad]:
    """A server that serves, killed at the end if it still runs. It leads a process group of its own."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        command = [sys.executable, *program, *arguments]
        process = await asyncio.create_subprocess_exec(*command, stderr=log.fileno(), start_new_session=True)
        if core is not None:
            os.sched_setaffinity(process.pid, {core})  # before it has threads, which inherit it
        server = ServerUnderLoad(process, Path(log.name))
        try:
            await server.ready()
            yield server
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def cores() -> tuple[int | None, int | None]:
    """One core for the server and another for its load, or none where there are fewer than two."""
    free = sorted(os.sched_getaffinity(0))
    return (free[0], free[1]) if len(free) > 1 else (None, None)


@contextmanager
def pinned_to(core: int | None) -> Iterator[None]:
    """This process, and those it starts, on that core alone; None leaves it where it is."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, mine if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)
