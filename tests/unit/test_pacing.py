"""How long a stream waits for more before its next message."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_service.pacing import LoopLag, delay_seconds

SECONDS = st.floats(0, 10)


def test_an_idle_loop_delays_nothing() -> None:
    assert delay_seconds(lag=0.0002, longest=0.01) == 0


@given(SECONDS, SECONDS)
def test_no_delay_is_longer_than_the_longest(lag: float, longest: float) -> None:
    assert 0 <= delay_seconds(lag, longest) <= longest


@given(SECONDS, SECONDS)
def test_a_later_loop_never_delays_less(lag: float, more: float) -> None:
    assert delay_seconds(lag, 0.01) <= delay_seconds(lag + more, 0.01)


def test_lag_follows_a_busy_spell_and_forgets_it() -> None:
    lag = LoopLag()
    for _ in range(20):
        lag.sample(0.003)
    busy = lag.seconds
    for _ in range(40):
        lag.sample(-0.0001)

    assert 0.0025 < busy <= 0.003
    assert lag.seconds < 0.0001
