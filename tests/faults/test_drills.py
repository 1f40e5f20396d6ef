"""The drills of `watchdog` and `saturated` at small N: what they measure is what they say."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.conftest import simulated_settings
from tests.faults import watchdog
from tests.faults.saturated import Saturation, saturated


@pytest.mark.slow
async def test_every_stream_of_an_engine_that_dies_is_told() -> None:
    (death,) = await watchdog.deaths(1)

    assert death.wrong == 0
    assert max(death.unready, death.last_stream) < 5


@pytest.mark.slow
async def test_every_stream_of_an_engine_that_hangs_is_told() -> None:
    (hang,) = await watchdog.hangs(1, engine_stall_seconds=0.5, engine_hang_seconds=1.5)

    assert hang.wrong == 0
    assert 0.5 < hang.unready < hang.last_stream < 30


async def test_a_saturated_engine_is_not_taken_for_a_stalled_one() -> None:
    timing = {"step_time_ms": 10, "max_concurrent_sequences": 8}

    seen = await saturated(simulated_settings(simulated=timing), 8, callers=24, most_words=1000, seconds=1.5, seed=0)

    assert seen.calls["OK"] > 0
    assert seen.full > 0.9
    assert (seen.stalls, seen.hangs) == (0, 0)


async def test_and_one_that_stalls_is_counted() -> None:
    slow = {"step_time_ms": 400, "max_concurrent_sequences": 8}
    settings = simulated_settings(simulated=slow, engine_stall_seconds=0.2)

    seen = await saturated(settings, 8, callers=2, most_words=10, seconds=1, seed=0)

    assert seen.stalls > 0
    assert not seen.passed


def test_an_alarm_that_nobody_could_have_heard_is_no_silence() -> None:
    unheard = Saturation("simulated", 10, calls=Counter(OK=5), looks=100, full_looks=100)
    idle = Saturation("simulated", 10, events=Counter(loaded=1), calls=Counter(OK=5), looks=100, full_looks=50)

    assert not unheard.passed
    assert not idle.passed
    assert replace(idle, full_looks=100).passed
