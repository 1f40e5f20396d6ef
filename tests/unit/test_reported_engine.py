"""The engine as all front ends together see it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from penstock_service.frontends import process, supervisor
from penstock_service.frontends.control import Progress
from penstock_service.frontends.process import FrontEndProcess
from penstock_service.frontends.supervisor import ReportedEngine
from penstock_service.settings import Settings


class Clock:
    """Stands for the module `time`."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
async def front_end(tmp_path: Path) -> AsyncIterator[FrontEndProcess]:
    settings = Settings(grpc_port=0, health_port=0, metrics_port=None, frontends=2)
    started = await FrontEndProcess.start(0, settings, tmp_path)
    yield started
    started.kill()
    await asyncio.gather(started.life, return_exceptions=True)


async def test_a_front_end_that_has_ended_or_stands_still_tells_of_no_jobs(
    front_end: FrontEndProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    for module in (process, supervisor):
        monkeypatch.setattr(module, "time", clock)
    engine = ReportedEngine(FakeEngine(), [front_end])  # type: ignore[arg-type]

    front_end._take_in(Progress(running=3, steps=9))
    assert (engine.running, engine.steps) == (3, 9)
    clock.now += 3
    assert (engine.running, engine.steps) == (0, 9)

    front_end._take_in(Progress(running=3, steps=9))
    front_end.kill()
    await asyncio.gather(front_end.life, return_exceptions=True)
    assert engine.running == 0


async def test_a_signal_to_all_processes_does_not_end_a_front_end_that_only_begins(front_end: FrontEndProcess) -> None:
    started = psutil.Process(front_end._process.pid)

    os.kill(started.pid, signal.SIGTERM)

    async with asyncio.timeout(60):
        await asyncio.wait(
            [front_end.life, asyncio.create_task(front_end.listening.wait())], return_when=asyncio.FIRST_COMPLETED
        )
    assert front_end.listening.is_set()
    assert started.is_running()


class FakeEngine:
    kill = died = None
