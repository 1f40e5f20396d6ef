"""The program of one front-end process: the service without an engine of its own, on its supervisor's orders.

    python -m penstock_service.frontends.front_end FD     # FD: its end of the socket to the supervisor

Signals are for the supervisor: a front end ignores SIGTERM, which service managers send to every process, and is born
with both SIGTERM and SIGINT blocked. When the supervisor is gone it ends, and takes what is left of the engine with it.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import psutil
import structlog
import uvloop
from prometheus_client import generate_latest

from penstock_service.call_log import configure_log
from penstock_service.configuration import EXIT_CONFIGURATION, ConfigurationError
from penstock_service.engine.base import Engine
from penstock_service.engine.link import Link
from penstock_service.engine.loading import connect_engine
from penstock_service.failures import EXIT_FAILURE, ServiceFailed
from penstock_service.frontends.control import (
    Channel,
    Connect,
    Drain,
    EngineDied,
    EngineStarted,
    Failed,
    Hurry,
    Listening,
    Loaded,
    Measured,
    Message,
    Progress,
    Scrape,
    Stalled,
    Start,
)
from penstock_service.logged_errors import log_unhandled, with_messages
from penstock_service.long_conversations import SWITCH_SECONDS
from penstock_service.process_end import end_process
from penstock_service.service import Service, running_service, until
from penstock_service.settings import Settings

if TYPE_CHECKING:
    from penstock_service.engine.vllm.shared_engine import ConnectedEngine

log = structlog.get_logger()

_REPORT_SECONDS = 0.25  # as the watchdog looks


def main() -> None:
    """Serve until told to drain. Exit status as `penstock-serve`'s."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which forgets one that came while it was blocked
    sys.setswitchinterval(SWITCH_SECONDS)
    end = socket.socket(fileno=int(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(_serve(end))
    end_process(status)


async def _serve(end: socket.socket) -> int:
    channel = await Channel.over(end)
    start = await channel.receive()
    if not isinstance(start, Start):
        return EXIT_FAILURE
    configure_log(start.settings.log_level, frontend=start.index)
    asyncio.get_running_loop().set_exception_handler(log_unhandled)
    try:
        await FrontEnd(channel).serve(start)
    except ConfigurationError as error:
        channel.send(Failed(sentence=str(error), configuration=True))
        return EXIT_CONFIGURATION
    except ServiceFailed as error:
        log.error("stopped", error=str(error), exception=error.__cause__ and with_messages(error.__cause__))
        channel.send(Failed(sentence=str(error)))
        return EXIT_FAILURE
    finally:
        await channel.close()
    log.info("stopped")
    return 0


class FrontEnd:
    """The service of this process, and what its supervisor has told so far."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._link: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._drain = asyncio.Event()
        self._engine: ConnectedEngine | None = None
        self._engine_processes: list[psutil.Process] = []
        self._carrying_out: set[asyncio.Task[None]] = set()

    async def serve(self, start: Start) -> None:
        """Serve until told to drain. Raises ConfigurationError and ServiceFailed."""
        async with running_service(start.settings, self._load, front_end=start.index) as service:
            self._channel.send(Listening())
            service.loading.add_done_callback(self._tell_loaded)
            # During the drain as well.
            tasks = [asyncio.create_task(self._obey(service)), asyncio.create_task(self._report())]
            await until(self._drain.wait(), service.failure())
        for task in tasks:
            task.cancel()

    async def _load(self, settings: Settings) -> Engine:
        self._engine = await connect_engine(settings, self._link)
        return self._engine

    def _tell_loaded(self, loading: asyncio.Task[Engine]) -> None:
        if not loading.cancelled() and loading.exception() is None:
            self._channel.send(Loaded())

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            if self._engine is not None:
                self._channel.send(Progress(running=self._engine.running, steps=self._engine.steps))

    async def _obey(self, service: Service) -> None:
        while (order := await self._channel.receive()) is not None:
            self._carry_out(order, service)
        self._end_with_the_engine()

    def _carry_out(self, order: Message, service: Service) -> None:
        match order:
            case EngineStarted():
                self._engine_processes = list(_existing(order.processes))
            case Connect():
                self._link.set_result(order.link)
            case Drain():
                self._drain.set()
            case Hurry():
                service.hurry()
            case EngineDied() if self._engine is not None:
                self._engine.lose()
            case Stalled():
                self._in_background(service.tell_stalled(order.stalled))
            case Scrape():
                self._in_background(self._answer_scrape())

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._carrying_out.add(task)
        task.add_done_callback(self._carrying_out.discard)

    async def _answer_scrape(self) -> None:
        text = await asyncio.to_thread(generate_latest)
        self._channel.send(Measured(text=text.decode()))

    def _end_with_the_engine(self) -> None:
        """End vLLM's coordinator, too, which process_guard does not know; of the engine it leaves nothing."""
        log.error("the supervisor is gone")
        for process in self._engine_processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # psutil looks whether the number means another one by now
                process.kill()
        os._exit(EXIT_FAILURE)


def _existing(processes: Iterable[int]) -> Iterator[psutil.Process]:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            yield psutil.Process(process)


if __name__ == "__main__":
    main()
