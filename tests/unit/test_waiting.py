"""The estimate of how long a new generation would wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1.generation_pb2 import Timings, Usage
from penstock_service.waiting import WaitEstimator


def fed(*held_ms: float, queued_ms: float = 0.0) -> WaitEstimator:
    estimator = WaitEstimator()
    for held in held_ms:
        estimator.ended(Timings(queue_time_ms=queued_ms, generation_time_ms=queued_ms + held))
    return estimator


@pytest.mark.parametrize("estimator", [fed(), fed(1000)], ids=["nothing ended yet", "something ended"])
def test_with_a_free_place_there_is_no_wait(estimator: WaitEstimator) -> None:
    assert estimator.wait_ms(running=3, places=4) == 0


def test_before_anything_has_ended_the_wait_for_a_place_is_not_known() -> None:
    assert fed().wait_ms(running=4, places=4) is None


def test_the_wait_is_what_waits_by_how_fast_places_come_free() -> None:
    estimator = fed(1000, 1000)  # 4 places that each take a second: one comes free every 250 ms

    assert estimator.wait_ms(running=4, places=4) == 250
    assert estimator.wait_ms(running=9, places=4) == 6 * 250


def test_the_time_that_a_generation_waited_itself_does_not_count() -> None:
    assert fed(400, queued_ms=60_000).wait_ms(running=4, places=4) == 100


def test_an_answer_of_several_sequences_tells_how_long_one_is() -> None:
    estimator = WaitEstimator()

    estimator.ended(Timings(queue_time_ms=0, generation_time_ms=100), Usage(completion_tokens=800), sequences=8)

    assert estimator.completion_tokens == 100


def test_an_idle_time_between_generations_changes_nothing() -> None:
    """Only what generations took is learned, not when they came: a quiet night does not make the morning look slow."""
    assert fed(*[800] * 5).wait_ms(running=8, places=8) == 100


def test_the_last_generations_count_most() -> None:
    estimator = fed(*[10_000] * 50, *[100] * 50)

    wait = estimator.wait_ms(running=1, places=1)

    assert wait is not None
    assert 100 < wait < 200


@pytest.mark.parametrize("timings", [None, Timings(), Timings(queue_time_ms=5)])
def test_a_generation_without_a_token_tells_nothing(timings: Timings | None) -> None:
    estimator = WaitEstimator()
    estimator.ended(timings)

    assert estimator.wait_ms(running=1, places=1) is None


def test_generations_that_took_no_time_leave_no_wait() -> None:
    assert fed(0).wait_ms(running=9, places=4) == 0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 512), st.integers(0, 512))
def test_the_wait_never_falls_when_more_run(held: list[float], places: int, running: int) -> None:
    estimator = fed(*held)

    now, then = estimator.wait_ms(running, places), estimator.wait_ms(running + 1, places)

    assert now is not None
    assert then is not None
    assert 0 <= now <= then
