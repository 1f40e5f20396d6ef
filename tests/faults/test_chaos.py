"""A load whose engine dies and hangs and whose connections break: every call ends once, as both ends say."""

from itertools import islice

import pytest

from tests.faults.chaos import run
from tests.faults.fault_schedule import engine_faults, network_faults
from tests.faults.plans import plan_of
from tests.programs import find_program

SEED = 5  # whose first fault of the engine is its death


@pytest.mark.slow
@pytest.mark.skipif(find_program("toxiproxy-server") is None, reason="toxiproxy is not here")
async def test_nothing_breaks_in_some_hundred_calls_while_everything_breaks_around_them() -> None:
    tally = await run(300, seed=SEED, at_once=32, calm_seconds=1, least_deaths=1)

    assert tally.breaks == []
    assert tally.accepted >= 300
    assert tally.faults.total() > tally.deaths >= 1
    assert tally.outcomes["OK"] > 100


def test_a_seed_gives_the_same_plans_and_faults_again() -> None:
    for number in range(1, 200):
        one, other = plan_of(1, number, paths=5), plan_of(1, number, paths=5)
        assert (one.kind, one.request, one.path, one.deadline) == (
            other.kind,
            other.request,
            other.path,
            other.deadline,
        )
    for schedule in (engine_faults(1, 1.0), network_faults(1, 4, 1.0)):
        again = engine_faults(1, 1.0) if schedule.__name__ == "engine_faults" else network_faults(1, 4, 1.0)
        assert list(islice(schedule, 50)) == list(islice(again, 50))
    assert [plan_of(1, n, 5).kind for n in range(1, 50)] != [plan_of(2, n, 5).kind for n in range(1, 50)]
