"""Hostile frames leave nothing behind, and others are served beside them; `attacks` measures how well."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from penstock.v1 import generation_pb2 as pb
from tests.conftest import OpenService, Running, eventually
from tests.faults.h2.attacks import ATTACKS, Outcome, median
from tests.faults.h2.floods import Sent
from tests.faults.h2.observed_server import Held
from tests.faults.victim import Served, Window

SHORT = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 20, "ignore_eos": True})
SECONDS = 0.2


async def attacked(running: Running, name: str) -> Sent:
    """Run an attack while somebody else is served, who must not notice."""
    makes, rate = ATTACKS[name]
    attack = asyncio.create_task(makes(running.address, SECONDS, min(rate, 1000), Random(name)))
    while not attack.done():
        async with asyncio.timeout(10):
            assert (await running.generation.Generate(SHORT)).usage.completion_tokens == 20
    await eventually(lambda: running.engine.running == running.service.lifecycle.running == 0, "nothing is left")
    return attack.result()


@pytest.mark.parametrize(
    "name",
    [
        *("made to reset", "CONTINUATION flood", "empty CONTINUATION flood", "strings of 4 GiB", "table size updates"),
        *("header bomb", "SETTINGS flood", "empty DATA flood", "PRIORITY flood", "WINDOW_UPDATE flood"),
    ],
)
async def test_a_flood_of_frames_hurts_nobody(simulated: Running, name: str) -> None:
    assert (await attacked(simulated, name)).units > 10


async def test_a_flood_of_pings_ends_its_connections(simulated: Running) -> None:
    sent = await attacked(simulated, "PING flood")

    assert sent.answers["GOAWAY too_many_pings"] > 0


async def test_calls_that_are_reset_at_once_are_bounded_in_the_engine(open_service: OpenService) -> None:
    running = await open_service(max_concurrent_streams=8)
    most = 0
    submit = running.engine.submit

    async def counting(*given: object) -> None:
        nonlocal most
        await submit(*given)  # type: ignore[arg-type]
        most = max(most, running.engine.running)

    running.engine.submit = counting  # type: ignore[method-assign]
    await attacked(running, "rapid reset")

    assert 0 < most <= 8 + 8 + 1  # those that are open, as many that are just ending, and the other's


def tried(good: int) -> Outcome:
    """A try after which so many of the victim's ten streams were whole in time."""

    def window(good: int) -> Window:
        whole = [0.1] * good + [None] * (10 - good)
        return Window([Served(number, 0.0, None, seconds, 0.0, "") for number, seconds in enumerate(whole)])

    nothing = Held(0.0, 0, 0, 0, 0, 0, 0, 0, 0.0)
    return Outcome("", Sent(), window(10), window(good), nothing, 0, nothing)


def test_what_is_recorded_of_an_attack_is_neither_its_best_try_nor_its_first() -> None:
    assert median([tried(10), tried(5), tried(8)]).goodput == 0.8
    assert median([tried(9), tried(10)]).goodput == 0.9
