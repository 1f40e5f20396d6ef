"""The limits of the client and those of the service, against each other: who ends the call, and what its caller gets.

Whichever clock ends a call, its caller gets one kind of error with what had come, the engine stops working on it, and
the service's log tells the code that the caller saw.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import grpc
import pytest
import structlog

from penstock import APITimeoutError, AsyncClient, FirstTokenTimeout, IdleTimeout, StreamInterrupted, Timeout
from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.base import Job, Receiver
from penstock_service.engine.loading import load_engine
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.service import Load
from tests.client.conftest import AsyncioCaller, BlockingCaller, Caller
from tests.conftest import OpenService, Running, eventually

# The promise is 250 ms; this machine is shared.
MOST_SECONDS_TO_BE_FREE = 2.5
LIMIT = 0.25
LONG: dict[str, Any] = {"max_tokens": 4000, "ignore_eos": True}
SERVERS_WORDS = f"this server ends calls after {LIMIT} s"

WRITING = {"step_time_ms": 10}
READING = {"step_time_ms": 10, "prefill_tokens_per_second": 0.1}
BUSY = {"step_time_ms": 60_000, "max_concurrent_sequences": 1}


class SlowTokenizer(SimulatedEngine):
    """Takes for ever to hand a prompt to the engine."""

    preparing = 0

    async def submit(self, job: Job, receiver: Receiver) -> None:
        self.preparing += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.preparing -= 1


class Phase(NamedTuple):
    """Where a call is when it ends."""

    load: Load
    pace: dict[str, float]
    text_has_come: bool = False
    waits_behind_another: bool = False


PHASES = {
    "tokenized": Phase(SlowTokenizer.load, WRITING),
    "queued": Phase(load_engine, BUSY, waits_behind_another=True),
    "read": Phase(load_engine, READING),
    "written": Phase(load_engine, WRITING, text_has_come=True),
}
CallerOf = Callable[[Running], Awaitable[Caller]]
CALLERS: dict[str, Callable[[str], Caller]] = {
    "blocking": lambda target: BlockingCaller(target, sessions="never"),
    "asyncio, in a session": lambda target: AsyncioCaller(target, sessions="always"),
}

Lines = list[Any]


@pytest.fixture(params=CALLERS.values(), ids=CALLERS)
async def caller_of(request: pytest.FixtureRequest) -> AsyncIterator[CallerOf]:
    """Makes a caller that is connected to a service, and closes it at the end."""
    made: list[Caller] = []

    async def make(running: Running) -> Caller:
        made.append(request.param(running.address))
        await made[-1].models()
        return made[-1]

    yield make
    for caller in made:
        await caller.close()


@pytest.fixture
def lines() -> Any:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def code_in_the_log(lines: Lines, count: int = 1) -> str:
    """With what the latest of `count` calls ended, by the service's log."""

    def ended() -> Lines:
        return [line for line in lines if line["event"] == "call" and "Generate" in line["method"]]

    await eventually(lambda: len(ended()) == count, f"{count} calls ended")
    return str(ended()[-1]["code"])


async def is_free(running: Running, others: int = 0) -> None:
    """The engine works on nothing but `others`, soon."""
    async with asyncio.timeout(MOST_SECONDS_TO_BE_FREE):
        while running.engine.running > others or getattr(running.engine, "preparing", 0):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def error_of(ending: Awaitable[Any]) -> Any:
    with pytest.raises((APITimeoutError, StreamInterrupted)) as caught:
        await ending
    assert caught.value.status is grpc.StatusCode.DEADLINE_EXCEEDED
    return caught.value


class Ready(NamedTuple):
    """A service in which calls stay in a phase."""

    running: Running
    others: int  # calls that are in its engine for good


ENDS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "the caller's total": ({}, {"timeout": LIMIT}),
    "the service's default": ({"default_deadline_seconds": LIMIT}, {}),
}


@pytest.fixture(params=PHASES.values(), ids=PHASES)
def phase(request: pytest.FixtureRequest) -> Phase:
    return request.param


async def ready(phase: Phase, open_service: OpenService, **settings: float) -> Ready:
    running = await open_service(phase.load, simulated=phase.pace, max_admitted_sequences=8, **settings)
    if not phase.waits_behind_another:
        return Ready(running, 0)
    running.generation.StreamGenerate(pb.GenerateRequest(prompt="Hello", stopping=LONG), timeout=600)
    await eventually(lambda: running.engine.running == 1, "the other call runs")
    return Ready(running, 1)


@pytest.mark.parametrize(("settings", "options"), ENDS.values(), ids=ENDS)
async def test_a_deadline_comes_in_any_phase(
    phase: Phase,
    settings: dict[str, float],
    options: dict[str, float],
    open_service: OpenService,
    caller_of: CallerOf,
    lines: Lines,
) -> None:
    running, others = await ready(phase, open_service, **settings)

    error = await error_of((await caller_of(running)).stream("Hello", **LONG, **options).all())

    assert isinstance(error, StreamInterrupted if phase.text_has_come else APITimeoutError)
    assert bool(error.partial.text) is phase.text_has_come
    refused = bool(others) and "by prediction" in str(error)  # a call that cannot wait so long
    assert refused or (SERVERS_WORDS in str(error)) is bool(settings)
    await is_free(running, others)
    assert await code_in_the_log(lines) == "DEADLINE_EXCEEDED"


async def test_a_caller_leaves_in_any_phase(
    phase: Phase, open_service: OpenService, caller_of: CallerOf, lines: Lines
) -> None:
    running, others = await ready(phase, open_service)
    stream = (await caller_of(running)).stream("Hello", **LONG)
    if phase.text_has_come:
        await stream.read()
    await eventually(lambda: running.service.lifecycle.running == others + 1, "the call is there")

    await stream.close()

    await is_free(running, others)
    assert await code_in_the_log(lines) == "CANCELLED"


async def test_the_services_longest_counts_whatever_the_caller_sets(
    open_service: OpenService, caller_of: CallerOf, lines: Lines
) -> None:
    running = await open_service(simulated=WRITING, max_deadline_seconds=LIMIT)
    caller = await caller_of(running)

    stream = await error_of(caller.stream("Hello", timeout=60, **LONG).all())
    whole = await error_of(caller.generate("Hello", timeout=60, **LONG))
    batch = await error_of(caller.call("generate_batch", ["Hello", "Bye"], timeout=60, **LONG))

    for error in (stream, whole, batch):
        assert str(error).endswith(SERVERS_WORDS)
    assert stream.partial.usage.completion_tokens > 1
    await is_free(running)
    assert await code_in_the_log(lines, 5) == "DEADLINE_EXCEEDED"  # two of them are the batch's inputs


async def test_a_whole_answer_and_a_batch_end_at_the_callers_total(
    open_service: OpenService, caller_of: CallerOf, lines: Lines
) -> None:
    running = await open_service(simulated=WRITING)
    caller = await caller_of(running)

    await error_of(caller.generate("Hello", timeout=LIMIT, **LONG))
    await error_of(caller.call("generate_batch", ["Hello", "Bye"], timeout=LIMIT, **LONG))

    await is_free(running)
    assert await code_in_the_log(lines, 4) == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(("settings", "options"), [({}, {"timeout": 2}), ({"default_deadline_seconds": LIMIT}, {})])
async def test_a_partial_answer_is_there_before_either(
    settings: dict[str, float],
    options: dict[str, float],
    open_service: OpenService,
    caller_of: CallerOf,
    lines: Lines,
) -> None:
    running = await open_service(simulated=WRITING, **settings)

    reply = await (await caller_of(running)).stream("Hello", on_deadline="return_partial", **LONG, **options).reply()

    assert (reply.finish_reason, bool(reply.text)) == ("deadline", True)
    await is_free(running)
    assert await code_in_the_log(lines) == "OK"


async def test_the_limit_on_the_first_token_ends_a_call_whose_prompt_takes_long(
    open_service: OpenService, caller_of: CallerOf, lines: Lines
) -> None:
    running = await open_service(simulated=READING)

    error = await error_of((await caller_of(running)).stream("Hello", timeout=Timeout(first_token=LIMIT), **LONG).all())

    assert isinstance(error, FirstTokenTimeout)
    assert error.partial.text == ""
    await is_free(running)
    assert await code_in_the_log(lines) == "CANCELLED"


async def test_the_limit_on_silence_ends_a_stream_that_another_prompt_holds_up(
    open_service: OpenService, caller_of: CallerOf, lines: Lines
) -> None:
    running = await open_service(simulated={"step_time_ms": 10, "prefill_tokens_per_second": 50})
    stream = (await caller_of(running)).stream("Hello", timeout=Timeout(idle=LIMIT), **LONG)
    await stream.read()

    other = running.generation.Generate(pb.GenerateRequest(prompt="Hello " * 300, stopping=LONG))
    error = await error_of(stream.all())

    assert isinstance(error, IdleTimeout)
    assert error.partial.text
    await is_free(running, others=1)
    assert await code_in_the_log(lines) == "CANCELLED"
    other.cancel()


async def test_a_tier_is_a_total_like_any_other(open_service: OpenService, lines: Lines) -> None:
    running = await open_service(simulated=WRITING)
    async with AsyncClient(running.address, tiers={"chat": Timeout(LIMIT)}) as client:
        error = await error_of(client.stream("Hello", tier="chat", **LONG).reply())

    assert error.partial.text
    assert await code_in_the_log(lines) == "DEADLINE_EXCEEDED"


async def test_a_limit_that_has_widened_lets_slow_prompts_be_read_and_the_total_still_ends_them(
    open_service: OpenService, lines: Lines
) -> None:
    """Twenty first tokens come after half the limit, which makes it one and a half of itself."""
    running = await open_service(simulated={"step_time_ms": 5, "prefill_tokens_per_second": 1000})
    limit = Timeout(total=30, first_token=1)
    async with AsyncClient(running.address, timeout=limit) as client:

        async def behind(words: int, **options: Any) -> Any:
            """The call that is read together with another prompt, of so many milliseconds."""
            other = running.generation.Generate(pb.GenerateRequest(prompt="Hello " * words, stopping={"max_tokens": 1}))
            stream = client.stream("Hello", max_tokens=4, ignore_eos=True, **options)
            replies = await asyncio.gather(stream.reply(), *alike, other)
            alike.clear()
            return replies[0]

        alike = [client.stream("Hello", max_tokens=2, ignore_eos=True).reply() for _ in range(20)]
        await behind(500)

        assert (await behind(1250)).usage.completion_tokens == 4
        await error_of(behind(1250, timeout=Timeout(total=LIMIT, first_token=1)))

    assert await code_in_the_log(lines, 25) == "DEADLINE_EXCEEDED"
