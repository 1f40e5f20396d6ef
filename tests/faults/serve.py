"""`penstock-serve` with its engine in a child process, for tests from outside: python -m tests.faults.serve [flags].

It logs the process id of each engine that it starts, and a trace id in the line of every call. A line `state` on stdin
makes it log what it holds (`State`); the end of stdin ends it.
"""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import structlog
import uvloop
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Span

from penstock_service import answer
from penstock_service.admission import Admission
from penstock_service.call import Call
from penstock_service.call_log import configure_log
from penstock_service.engine.base import Engine
from penstock_service.engine_places import EnginePlace, EnginePlaces
from penstock_service.generation import Generation
from penstock_service.recording import Recording
from penstock_service.service import Service, running_service, until
from penstock_service.session import Session
from penstock_service.settings import Settings, settings_from
from tests.faults.child_engine import ChildEngines

log = structlog.get_logger()

OURS = (Generation, Recording, Session, EnginePlace)


class NoSpans(SpanExporter):
    """Takes spans, whose ids are all that is wanted of them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Handlers:
    """Counts the calls whose handlers have begun and have not left their line yet."""

    def __init__(self) -> None:
        self.running = 0
        begin, end = Call.__init__, answer.log_call

        def begun(call: Call, *given: Any, **named: Any) -> None:
            begin(call, *given, **named)
            self.running += 1

        def ended(call: Call, span: Span) -> None:
            self.running -= 1
            end(call, span)

        Call.__init__, answer.log_call = begun, ended  # type: ignore[method-assign]


async def serve(settings: Settings) -> None:
    engines, handlers = ChildEngines(), Handlers()

    async def load(settings: Settings) -> Engine:
        engine = await engines(settings)
        log.info("engine process", pid=engine.process.pid)
        return engine

    async with running_service(settings, load, NoSpans()) as service:
        await until(_obey(service, engines, handlers), service.failure())


async def _obey(service: Service, engines: ChildEngines, handlers: Handlers) -> None:
    """Answer what stdin asks, until it ends."""
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while await commands.readline():
        log.info("state", **state_of(service, engines), handlers=handlers.running)


def state_of(service: Service, engines: ChildEngines) -> dict[str, Any]:
    """What is there, of everything that has to be gone when no call runs."""
    gc.unfreeze()  # what is frozen is not among `get_objects`
    gc.collect()
    objects = gc.get_objects()
    held = [type(each).__name__ for each in objects if isinstance(each, OURS)]
    gc.freeze()
    return {
        "calls": service.lifecycle.running,
        "jobs": sum(engine.running for engine in engines.loaded),
        "objects": {kind.__name__: held.count(kind.__name__) for kind in OURS},
        "admitted": [(each.sequences, each.queued_tokens) for each in objects if isinstance(each, Admission)],
        "places": [(each.taken, bool(each.queue)) for each in objects if isinstance(each, EnginePlaces)],
        "tasks": sorted(_name(task) for task in asyncio.all_tasks()),
        "descriptors": sorted(_descriptors()),
        "counts": asdict(engines.counts),
    }


def _descriptors() -> Iterator[str]:
    """What kind each open file is of: socket, pipe, a path."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listed them
            yield os.readlink(f"/proc/self/fd/{number}").split("[")[0].rstrip(":")


def _name(task: "asyncio.Task[object]") -> str:
    """What kind of task it is: those that nobody named have numbers."""
    name = task.get_name()
    return getattr(task.get_coro(), "__qualname__", "") if name.startswith("Task-") else name


def main() -> None:
    settings = settings_from(sys.argv[1:])
    configure_log(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.suppress(KeyboardInterrupt):
        runner.run(serve(settings))


if __name__ == "__main__":
    main()
