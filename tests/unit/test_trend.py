"""The slope that a soak is judged by."""

from random import Random

import pytest

from tests.faults.trend import trend


def test_what_grows_is_seen_through_noise() -> None:
    rng = Random(1)
    times = [float(second) for second in range(1800)]

    found = trend(times, [1000 + 0.5 * time + rng.gauss(0, 20) for time in times])

    assert found.low < 0.5 < found.high
    assert found.margin < 0.01


def test_what_does_not_grow_may_be_flat() -> None:
    rng = Random(2)
    times = [float(second) for second in range(300)]

    found = trend(times, [rng.gauss(0, 20) for _ in times])

    assert found.low < 0 < found.high


def test_neighbours_that_tell_the_same_do_not_make_it_surer() -> None:
    rng = Random(3)
    values = [rng.gauss(0, 20) for _ in range(30)]

    seldom = trend([float(at) for at in range(30)], values)
    often = trend([at / 60 for at in range(1800)], [values[at // 60] for at in range(1800)])

    assert often.margin > 0.9 * seldom.margin


@pytest.mark.parametrize("samples", [1795, 1799, 1800, 1801])
def test_what_grows_at_the_very_end_is_seen(samples: int) -> None:
    times = [float(second) for second in range(samples)]

    assert trend(times, [0.0] * (samples - 1) + [1e6]).slope > 0
    assert trend(times, [1e6] + [0.0] * (samples - 1)).slope < 0


def test_no_sample_has_no_slope() -> None:
    assert trend([], []) == (0.0, float("inf"))


def test_two_samples_tell_nothing() -> None:
    assert trend([0.0, 1.0], [0.0, 5.0]).margin == float("inf")
