"""The bar of an attack's victim comes from a long quiet time, and noise does not move it."""

import pytest

from tests.faults.baseline import LEAST_STREAMS, Baseline
from tests.faults.victim import Served, Window


def window(*seconds: float | None) -> Window:
    return Window([Served(number, number / 10, 0.01, each, 0.0, "OK") for number, each in enumerate(seconds)])


QUIET = [0.1] * (LEAST_STREAMS - 3) + [0.2, 0.25, 0.9]


def test_a_stream_is_good_within_three_times_the_median() -> None:
    alone = Baseline.of(window(*QUIET))

    assert alone.within == pytest.approx(0.3)
    assert (alone.median, alone.p99) == (0.1, 0.1)
    assert alone.goodput == (LEAST_STREAMS - 1) / LEAST_STREAMS


def test_a_short_time_is_no_baseline() -> None:
    with pytest.raises(ValueError, match=f"{LEAST_STREAMS} streams, not 299"):
        Baseline.of(window(*QUIET[1:]))


def test_a_noisy_time_is_no_baseline() -> None:
    with pytest.raises(ValueError, match="too noisy"):
        Baseline.of(window(*QUIET, *[0.9] * 20, None))


def test_a_window_in_which_others_used_the_machine_is_not_quiet() -> None:
    alone = Baseline.of(window(*QUIET))

    assert alone.is_quiet(window(0.1, 0.2, 0.29))
    assert not alone.is_quiet(window(0.1, 0.2, 0.9))
    assert not alone.is_quiet(window(0.1, 0.1, None))
    assert not alone.is_quiet(window())
