"""A server with the simulated engine in a process of its own that tells, ten times a second, what it holds.

python -m tests.faults.h2.observed_server '{"max_message_bytes": 4194304}'      a JSON line each, until it is terminated
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from penstock_service.call_log import configure_log
from penstock_service.engine.base import Job, Receiver
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.settings import Settings
from tests.conftest import Running, opened, simulated_settings


@dataclass(frozen=True)
class Held:
    """What the server holds at a moment of time.monotonic(); peaks and totals are since its start."""

    at: float
    rss: int
    handlers: int
    most_handlers: int
    engine: int
    most_in_engine: int
    submitted: int
    connections: int
    cpu_seconds: float


class ObservedServer:
    """The running process and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.address = address
        self.process = process
        self.samples: list[Held] = []
        self._reading = asyncio.create_task(self._read(), name="observed server")

    @property
    def now(self) -> Held:
        """What it said last."""
        return self.samples[-1]

    async def next(self) -> Held:
        """What it says next. RuntimeError when it says no more."""
        count = len(self.samples)
        while len(self.samples) == count:
            if self._reading.done():
                raise RuntimeError(f"the server has ended with status {await self.process.wait()}")
            await asyncio.sleep(0.02)
        return self.now

    async def close(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.samples.append(Held(**json.loads(line)))


@asynccontextmanager
async def observed_server(**settings: Any) -> AsyncIterator[ObservedServer]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.h2.observed_server", json.dumps(settings)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    server = ObservedServer(process, json.loads(await process.stdout.readline()))
    try:
        await server.next()
        yield server
    finally:
        await server.close()


class _CountingEngine(SimulatedEngine):
    submitted = most = 0

    async def submit(self, job: Job, receiver: Receiver) -> None:
        await super().submit(job, receiver)
        self.submitted += 1
        self.most = max(self.most, self.running)


async def _tell(running: Running, engine: _CountingEngine) -> None:
    process, most = psutil.Process(), 0
    port = running.service.grpc_port
    for tick in range(1 << 62):
        handlers = running.service.lifecycle.running
        most = max(most, handlers)
        if tick % 10 == 0:
            times = process.cpu_times()
            connections = sum(each.laddr.port == port and bool(each.raddr) for each in process.net_connections("tcp"))
            held = Held(
                *(time.monotonic(), process.memory_info().rss, handlers, most, engine.running, engine.most),
                *(engine.submitted, connections, times.user + times.system),
            )
            print(json.dumps(asdict(held)), flush=True)
        await asyncio.sleep(0.01)


async def main() -> None:
    async def load(settings: Settings) -> SimulatedEngine:
        return await _CountingEngine.load(settings)

    configure_log("info")
    async with opened(simulated_settings(**json.loads(sys.argv[1])), load) as running:
        print(json.dumps(running.address), flush=True)
        assert isinstance(running.engine, _CountingEngine)
        await _tell(running, running.engine)


if __name__ == "__main__":
    asyncio.run(main())
