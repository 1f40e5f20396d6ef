"""How long a stream waits for more before its next message."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.v1 import generation_pb2 as pb
from penstock_service.pacing import LoopLoad, Pace

SECONDS = st.floats(0, 10)
SHARE = st.floats(0, 1)


def loaded(lag: float = 0.0, busy: float = 0.0) -> LoopLoad:
    load = LoopLoad()
    load.lag, load.busy = lag, busy
    return load


def test_an_idle_loop_delays_nothing() -> None:
    assert loaded(lag=0.0004, busy=0.05).degree == 0


def test_a_loop_that_is_late_or_that_computes_all_the_time_delays_fully() -> None:
    assert loaded(lag=0.002).degree == 1
    assert loaded(busy=0.5).degree == 1


@given(SECONDS, SHARE, st.integers(0, 1000))
def test_no_delay_is_longer_than_the_request_allows(lag: float, busy: float, longest_ms: int) -> None:
    pace = Pace(loaded(lag, busy), default_ms=10)
    longest = pace.longest(pb.GenerateRequest(response={"max_delay_ms": longest_ms}))

    assert 0 <= pace.delay_seconds(longest) <= longest_ms / 1000


def test_the_servers_own_longest_delay_is_for_requests_that_say_nothing() -> None:
    pace = Pace(loaded(), default_ms=10)

    assert pace.longest(pb.GenerateRequest()) == 0.01
    assert pace.longest(pb.GenerateRequest(response={"max_delay_ms": 0})) == 0


@given(SECONDS, SHARE, SECONDS, SHARE)
def test_a_busier_loop_never_delays_less(lag: float, busy: float, later: float, busier: float) -> None:
    assert loaded(lag, busy).degree <= loaded(lag + later, busy + busier).degree


def test_the_load_follows_a_busy_spell_and_forgets_it() -> None:
    load = LoopLoad()
    for _ in range(100):
        load.sample(0.003, 0.6)
    after_the_spell = (load.lag, load.busy)
    for _ in range(200):
        load.sample(-0.0001, 0.0)

    assert 0.0025 < after_the_spell[0] <= 0.003
    assert 0.5 < after_the_spell[1] <= 0.6
    assert load.lag < 0.0001
    assert load.busy < 0.01
