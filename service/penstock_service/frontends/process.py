"""One front-end process, as its supervisor sees it."""

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from penstock_service.configuration import ConfigurationError
from penstock_service.engine.vllm.interrupts import children_ignore_interrupts
from penstock_service.failures import ServiceFailed
from penstock_service.frontends.control import (
    Channel,
    Drain,
    Failed,
    Listening,
    Loaded,
    Measured,
    Message,
    Progress,
    Scrape,
    Start,
)
from penstock_service.settings import Settings

# A front end tells of its jobs four times as often and more.
_NEWS_SECONDS = 2.0


class FrontEndLost(ServiceFailed):
    """A front end has ended, and nobody told it to."""


class FrontEndProcess:
    """A running front end. `start` makes one."""

    def __init__(self, index: int, process: "subprocess.Popen[bytes]", channel: Channel) -> None:
        self.listening, self.loaded = asyncio.Event(), asyncio.Event()
        self.progress = Progress(running=0, steps=0)
        self._told_progress = -math.inf  # when, by time.monotonic()
        self.index = index
        self._process = process
        self._channel = channel
        self._told_to_end = False
        self._failed: Failed | None = None
        self._scrapes: deque[asyncio.Future[str]] = deque()
        self.life: asyncio.Task[None] = asyncio.create_task(self._live(), name=f"front end {index}")

    @classmethod
    async def start(cls, index: int, settings: Settings, metrics_directory: Path) -> "FrontEndProcess":
        """Start the process, which opens its port and waits to be connected."""
        ours, theirs = socket.socketpair()
        # Not forked: this process has gRPC's threads. -P and PYTHONPATH: it imports what we import.
        program = [sys.executable, "-P", "-m", "penstock_service.frontends.front_end", str(theirs.fileno())]
        environment = {**os.environ, **_variables(index, metrics_directory)}
        # SIGTERM until it ignores that: its imports take seconds, and a group's SIGTERM is no order to end now.
        with theirs, children_ignore_interrupts(signal.SIGTERM):
            process = subprocess.Popen(program, pass_fds=[theirs.fileno()], env=environment)  # noqa: ASYNC220, S603
        channel = await Channel.over(ours)
        channel.send(Start(index=index, settings=settings))
        return cls(index, process, channel)

    def running(self, now: float) -> int:
        """Its jobs in the engine, if it has told of late: one that stands still or has ended knows no more of them."""
        return self.progress.running if now - self._told_progress <= _NEWS_SECONDS and not self.life.done() else 0

    def send(self, message: Message) -> None:
        """Tell it something."""
        self._channel.send(message)

    def drain(self) -> None:
        """Tell it to let its calls finish and then to end."""
        self._told_to_end = True
        self.send(Drain())

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()

    async def metrics(self) -> str:
        """Its metrics as Prometheus text."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._scrapes.append(answer)
        self.send(Scrape())
        return await answer

    async def _live(self) -> None:
        """Return when it has ended as it was told; else raise ConfigurationError or FrontEndLost."""
        while (message := await self._channel.receive()) is not None:
            self._take_in(message)
        status = await asyncio.to_thread(self._process.wait)
        await self._channel.close()
        if self._failed is not None and self._failed.configuration:
            raise ConfigurationError(self._failed.sentence)
        if status != 0 or not self._told_to_end:
            because = f": {self._failed.sentence}" if self._failed else ""
            raise FrontEndLost(f"front end {self.index} has ended with status {status}{because}")

    def _take_in(self, message: Message) -> None:
        match message:
            case Listening():
                self.listening.set()
            case Loaded():
                self.loaded.set()
            case Progress():
                self.progress, self._told_progress = message, time.monotonic()
            case Failed():
                self._failed = message
            case Measured():
                # In the order of the questions; one whose asker has given up is answered as well.
                answer = self._scrapes.popleft()
                if not answer.done():
                    answer.set_result(message.text)


def _variables(index: int, metrics_directory: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics_directory),
        "VLLM_LOGGING_PREFIX": f"(frontend {index}) {os.environ.get('VLLM_LOGGING_PREFIX', '')}",
    }
