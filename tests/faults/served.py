"""`tests.faults.serve` as a process: its log as it comes, its engine's process, what it holds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.faults.history import ServerLog

_LOADING_SECONDS = 60.0
_STATE_SECONDS = 20.0
_STOP_SECONDS = 10.0
# Why an engine starts again, where a fault was done to it.
_OF_FAULTS = ("the engine has stopped", "the engine hung", "the engine did not start")


class EngineProcess:
    """One process, held by a descriptor: its number may be another's as soon as it has ended."""

    def __init__(self, pid: int = 0) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(ProcessLookupError):
            self._descriptor = os.pidfd_open(pid) if pid else None

    @property
    def lives(self) -> bool:
        return self._descriptor is not None and not select.select([self._descriptor], [], [], 0)[0]

    def signal(self, name: str) -> bool:
        """Send it a signal; False if it has ended."""
        if self._descriptor is None or not self.lives:
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.Signals[name])
            return True
        return False

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Served:
    """A running server."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ServerLog()
        self.port = 0
        self.events: dict[str, int] = {}
        self._engine = EngineProcess()
        self._lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def state(self) -> dict[str, Any]:
        """What the server holds; every line that it wrote before is in the log then."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"state\n")
        async with asyncio.timeout(_STATE_SECONDS):
            return await self._lines.get()

    async def listening(self) -> None:
        """Wait until there is a port and an engine."""
        async with asyncio.timeout(_LOADING_SECONDS):
            while not (self.port and self.events.get("loaded")):  # noqa: ASYNC110 - it is another process's
                await asyncio.sleep(0.02)

    def signal_engine(self, name: str) -> EngineProcess | None:
        """Send the engine's process a signal; which one it is, or None if it is gone."""
        return self._engine if self._engine.signal(name) else None

    def engine_is(self, engine: EngineProcess) -> bool:
        """Whether that is still the engine's process."""
        return engine is self._engine and engine.lives

    async def stop(self) -> int:
        """Have the server end, and wait until all that it wrote is in the log; its exit status, -9 if it would not."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
        status = await self.process.wait()
        await self._reading
        self._engine.close()
        return status

    @property
    def ended(self) -> bool:
        """Whether the server is no more."""
        return self._reading.done()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while text := (await self.process.stderr.readline()).decode():
            if text.startswith("{"):
                self._take(json.loads(text), text)
            else:
                self.log.suspicious.append(text)

    def _take(self, line: dict[str, Any], text: str) -> None:
        event = line["event"]
        self.events[event] = self.events.get(event, 0) + 1
        match event:
            case "call":
                self.log.add(line)
            case "state":
                self._lines.put_nowait(line)
            case "listening":
                self.port = line["grpc_port"]
            case "engine process":
                self._engine.close()
                self._engine = EngineProcess(line["pid"])
            case "starting the engine again" if line["error"].startswith(_OF_FAULTS):
                pass  # with the cause, which may be a fault in the middle of its loading
            case _:
                self.log.suspicious.append(text)


@asynccontextmanager
async def served(*flags: str) -> AsyncIterator[Served]:
    """A server with a child for its engine, on free ports."""
    ports = ["--grpc-port", "0", "--health-port", "0", "--metrics-port", "none"]
    pipe = asyncio.subprocess.PIPE
    program = [sys.executable, "-m", "tests.faults.serve", "--engine", "simulated", *ports, *flags]
    process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stderr=pipe, limit=1 << 24)
    server = Served(process)
    try:
        await server.listening()
        yield server
    finally:
        await server.stop()
