"""Limits follow what calls have taken: they widen, and never shrink below what was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.resilience.adaptive import ENOUGH_SAMPLES, MOST_WIDENING, WINDOW, Adaptive, Experience, call_kind

SECONDS = st.lists(st.floats(0, 1000), max_size=300)
BASE = st.floats(0.01, 100)


def after(first_tokens: list[float], gaps: list[float]) -> Experience:
    experience = Experience()
    for seconds in first_tokens:
        experience.first_token(seconds)
    experience.gaps(gaps)
    return experience


@given(first_tokens=SECONDS, gaps=SECONDS, base=BASE)
def test_a_limit_only_widens_and_not_without_end(first_tokens: list[float], gaps: list[float], base: float) -> None:
    experience = after(first_tokens, gaps)

    for limit in (experience.first_token_limit(base), experience.idle_limit(base)):
        assert base <= limit <= MOST_WIDENING * base


@given(samples=st.lists(st.floats(0, 1000), max_size=ENOUGH_SAMPLES - 1), base=BASE)
def test_few_samples_change_nothing(samples: list[float], base: float) -> None:
    experience = after(samples, samples)

    assert experience.first_token_limit(base) == base
    assert experience.idle_limit(base) == base
    assert experience.first_token_p95() is None


def test_a_first_token_may_take_three_times_the_95th_percentile() -> None:
    experience = after([1.0] * 94 + [2.0] * 6, [])

    assert experience.first_token_limit(1.0) == 6.0
    assert experience.first_token_limit(50.0) == 50.0
    assert experience.first_token_limit(0.1) == pytest.approx(1.0)  # ten times what was asked for


def test_a_gap_may_be_eight_times_the_99th_percentile() -> None:
    experience = after([], [0.1] * 98 + [0.5] * 2)

    assert experience.idle_limit(1.0) == 4.0


def test_calls_that_ran_into_their_limit_count_as_longer_than_it() -> None:
    experience = after([0.1] * 60, [0.1] * 60)

    for _ in range(4):
        experience.first_token_timed_out(1.0)
        experience.idle_timed_out(1.0)

    assert experience.first_token_limit(1.0) == 4.5  # 3 times 1.5 s
    assert experience.idle_limit(1.0) == 10.0  # 8 times 1.5 s, cut at ten times the limit


def test_what_was_long_ago_is_forgotten() -> None:
    experience = after([100.0] * 50 + [0.1] * WINDOW, [])

    assert experience.first_token_limit(1.0) == 1.0


def test_calls_are_alike_by_endpoints_model_method_and_size() -> None:
    kind = call_kind("llm", "tiny", "StreamGenerate", 600)

    assert kind == call_kind("llm", "tiny", "StreamGenerate", 1000)
    assert kind != call_kind("llm", "tiny", "StreamGenerate", 1024)
    assert kind != call_kind("llm", "large", "StreamGenerate", 600)
    adaptive = Adaptive()
    assert adaptive.of(kind) is adaptive.of(call_kind("llm", "tiny", "StreamGenerate", 700))


def test_no_more_kinds_are_kept_than_a_client_has_use_for() -> None:
    adaptive = Adaptive()
    oldest = adaptive.of(call_kind("llm", "0", "StreamGenerate", 1))

    for number in range(1, 2000):
        adaptive.of(call_kind("llm", str(number), "StreamGenerate", 1))

    assert adaptive.of(call_kind("llm", "0", "StreamGenerate", 1)) is not oldest
