"""Which try of an attack counts."""

from collections import Counter

import pytest

from tests.faults.attacks import Outcome, counted, decided, passed, too_slow_alone
from tests.faults.baseline import Baseline
from tests.faults.victim import Served, Window

ALONE = Baseline(streams=300, median=0.1, p99=0.2, goodput=1.0)


def window(good: int, seconds: float = 0.1) -> Window:
    """A hundred streams, of which so many are whole in time."""
    times = [seconds] * good + [1.0] * (100 - good)
    return Window([Served(number, 0.0, 0.05, whole, 0.01, "OK") for number, whole in enumerate(times)])


def outcome(goodput: int, noisy: bool = False, plain: Window | None = None) -> Outcome:
    before = window(50 if noisy else 100)
    return Outcome("deep schemas", 1, Counter(OK=1), ALONE, before, window(goodput), window(100), True, plain)


@pytest.mark.parametrize(
    ("tries", "enough"),
    [
        ([], False),
        ([outcome(90)], True),
        ([outcome(89)], False),
        ([outcome(100, noisy=True)], False),
        ([outcome(100, noisy=True), outcome(90)], True),
        ([outcome(50), outcome(100)], False),
        ([outcome(50), outcome(100), outcome(100)], True),
    ],
)
def test_an_attack_is_tried_until_its_first_quiet_try_passes_or_three_are_quiet(
    tries: list[Outcome], enough: bool
) -> None:
    assert decided(tries) is enough


@pytest.mark.parametrize(
    ("tries", "goodput"),
    [
        ([outcome(95)], 0.95),
        ([outcome(50), outcome(95), outcome(97)], 0.95),
        ([outcome(50), outcome(60), outcome(97)], 0.60),
        ([outcome(50), outcome(97)], 0.50),
        ([outcome(20, noisy=True), outcome(97)], 0.97),
        ([outcome(20, noisy=True)], 0.20),
    ],
)
def test_the_median_of_the_quiet_tries_counts(tries: list[Outcome], goodput: float) -> None:
    assert counted(tries).goodput == goodput


def test_most_of_the_quiet_tries_have_to_pass_in_all_respects() -> None:
    lingers = outcome(95)._replace(after=window(50))

    assert passed([outcome(90)])
    assert passed([outcome(50), outcome(95), outcome(97)])
    assert not passed([lingers, outcome(96), lingers])
    assert not passed([outcome(50), outcome(97)])
    assert not passed([outcome(97, noisy=True)])
    assert not passed([outcome(97, noisy=True)._replace(answers=False), outcome(97)])


def test_a_bar_of_a_busy_machine_tells_nothing() -> None:
    busy = Baseline(streams=300, median=0.2, p99=0.4, goodput=1.0)

    assert too_slow_alone([[outcome(100)._replace(alone=busy)], [outcome(100)._replace(alone=busy)]])
    assert not too_slow_alone([[outcome(100)], [outcome(100)]])


def test_what_is_no_abuse_is_held_against_plain_calls() -> None:
    assert outcome(0, plain=window(100, seconds=1.0)).passed
    assert not outcome(0, plain=window(100)).passed


def test_plain_calls_that_leave_a_stream_without_an_answer_fail_the_attack() -> None:
    (*others, last) = window(100).streams
    unanswered = Served(last.number, last.due, None, None, 0.0, "DEADLINE_EXCEEDED")

    assert not outcome(100, plain=Window([*others, unanswered])).passed
