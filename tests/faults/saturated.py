"""Keeps a service saturated and counts how often its engine is judged to stall or to hang; it does neither.

python -m tests.faults.saturated --seconds 600            # the simulated engine, full and with a queue
python -m tests.faults.saturated --seconds 600 --long-steps    # in a child process, with steps of seconds
python -m tests.faults.saturated --seconds 600 --real     # vLLM with the built-in model, long prompts
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog
from structlog.typing import EventDict, WrappedLogger

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.base import Engine
from penstock_service.engine.loading import load_engine
from penstock_service.settings import Settings
from tests.conftest import Running, opened, simulated_settings
from tests.faults.child_engine import ChildEngines
from tests.faults.promises import record

PLACES = 32
_LOOK_SECONDS = 0.05
_REFUSED_SECONDS = 0.05  # before a refused caller comes again
_LEAST_FULL = 0.99
# Tokens a second: the steps in which prompts of up to 1500 tokens join take most of the seconds after which an engine
# counts as stalled.
SLOW_PREFILL = 5000


@dataclass
class Saturation:
    """What was seen of an engine in so many seconds."""

    engine: str
    seconds: float
    events: Counter[str] = field(default_factory=Counter)  # of the service's log
    calls: Counter[str] = field(default_factory=Counter)  # by status
    tokens: int = 0
    longest_silence: float = 0.0  # s without a step while there was work
    looks: int = 0  # at the engine, after the first second
    full_looks: int = 0  # that saw all places taken and further calls waiting

    @property
    def full(self) -> float:
        """The share of the time in which all places were taken and further calls waited."""
        return self.full_looks / max(self.looks, 1)

    @property
    def passed(self) -> bool:
        """Whether there was no alarm, and would have been heard of: the log was counted, and the engine was full."""
        heard = self.events["loaded"] > 0 and self.calls["OK"] > 0
        return heard and self.full >= _LEAST_FULL and not self.stalls + self.hangs

    @property
    def stalls(self) -> int:
        return self.events["the engine stalls"]

    @property
    def hangs(self) -> int:
        return self.events["the engine hangs"]

    def count(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        """A processor of the log that only counts."""
        self.events[line["event"]] += 1
        raise structlog.DropEvent


def prompt_of(rng: random.Random, most_words: int) -> str:
    return " ".join(rng.choice(("river", "lamp", "stone", "green", "walks")) for _ in range(rng.randint(1, most_words)))


async def call_on_and_on(running: Running, seen: Saturation, rng: random.Random, most_words: int) -> None:
    while True:
        stopping = {"max_tokens": rng.randint(1, 200), "ignore_eos": True}
        request = pb.GenerateRequest(prompt=prompt_of(rng, most_words), stopping=stopping)
        call = running.generation.StreamGenerate(request)
        with suppress(grpc.aio.AioRpcError):
            async for chunk in call:
                seen.tokens += chunk.usage.completion_tokens
        code = await call.code()
        seen.calls[code.name] += 1
        if code is not grpc.StatusCode.OK:
            await asyncio.sleep(_REFUSED_SECONDS)


async def look_at(running: Running, seen: Saturation, places: int) -> None:
    engine: Any = running.engine
    begun = changed = time.monotonic()
    steps = engine.steps
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = time.monotonic()
        if engine.steps != steps or not engine.running:
            steps, changed = engine.steps, now
        seen.longest_silence = max(seen.longest_silence, now - changed)
        if now - begun > 1:
            seen.looks += 1
            seen.full_looks += engine.running >= places and running.service.lifecycle.running > places


async def saturated(
    settings: Settings,
    places: int,
    callers: int,
    most_words: int,
    seconds: float,
    seed: int,
    load: Callable[[Settings], Awaitable[Engine]] = load_engine,
) -> Saturation:
    """Keep so many callers busy with a service of these settings for so long; its engine has so many places."""
    seen = Saturation(settings.engine, seconds)
    before = structlog.get_config()
    unfiltered = structlog.make_filtering_bound_logger(logging.NOTSET)
    structlog.configure(processors=[seen.count], wrapper_class=unfiltered, cache_logger_on_first_use=False)
    try:
        async with opened(settings, load) as running:
            rngs = [random.Random(f"{seed}-{number}") for number in range(callers)]
            work = [asyncio.create_task(call_on_and_on(running, seen, rng, most_words)) for rng in rngs]
            work.append(asyncio.create_task(look_at(running, seen, places)))
            await asyncio.wait(work, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            for task in work:
                task.cancel()
            ended = await asyncio.gather(*work, return_exceptions=True)
            if errors := [each for each in ended if isinstance(each, Exception)]:
                raise errors[0]
    finally:
        structlog.configure(**before)
    return seen


def settings_of(real: bool, long_steps: bool) -> tuple[Settings, int, int, int]:
    """A service, its engine's places, how many callers saturate it, and the longest of their prompts in words."""
    if real:
        arguments = ("--max-num-seqs", str(PLACES))
        ports: dict[str, Any] = {"grpc_port": 0, "health_port": 0, "metrics_port": None}
        return Settings(**ports, drain_seconds=0, engine_args=arguments), PLACES, 96, 540
    timing = {"step_time_ms": 10, "max_concurrent_sequences": PLACES}
    if long_steps:
        timing["prefill_tokens_per_second"] = SLOW_PREFILL
    return simulated_settings(simulated=timing), PLACES, 96, 1000


def report(seen: Saturation, promise: str, seed: int, recorded: bool) -> None:
    result = (
        f"{seen.stalls} stalls and {seen.hangs} hangs judged, longest silence {seen.longest_silence:.2f} s; full with "
        f"calls waiting {seen.full:.1%} of the time, {seen.calls['OK']} calls answered"
    )
    print(f"{seen.engine}: {seen.seconds:g} s, calls {dict(seen.calls)}, {seen.tokens} tokens; {result}")
    if recorded:
        alarms = seen.stalls + seen.hangs
        record(promise, n=int(seen.seconds), failures=alarms, result=result, passed=seen.passed, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the false alarms of the watchdog under saturation.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    engine = parser.add_mutually_exclusive_group()
    engine.add_argument("--real", action="store_true", help="vLLM instead of the simulated engine")
    engine.add_argument("--long-steps", action="store_true", help="the simulated engine in a child, with long steps")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    settings, load = settings_of(given.real, given.long_steps), ChildEngines() if given.long_steps else load_engine
    promise = f"no_false_alarm{'_vllm' * given.real}{'_long_steps' * given.long_steps}"
    report(asyncio.run(saturated(*settings, given.seconds, given.seed, load)), promise, given.seed, given.record)


if __name__ == "__main__":
    main()
