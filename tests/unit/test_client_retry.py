"""Whether and when something is tried again, resumed or given up; and which limit on waiting passes when."""

import heapq
import random

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from penstock import APIError, ConnectTimeout, FirstTokenTimeout, IdleTimeout, Retry
from penstock.resilience.attempts import Attempts, backoff
from penstock.resilience.recovery import RECONNECTS, How, Recovery
from penstock.resilience.resume_token import ResumePoint, read_token
from penstock.resilience.watch import Watch
from penstock.retry import RetryBudget
from penstock.statuses import _error
from penstock.v1.mirrors_pb2 import ErrorInfo, RetryInfo

Code = grpc.StatusCode


def failure(status: grpc.StatusCode, reason: str | None = None, delay: float | None = None) -> APIError:
    details: list[ErrorInfo | RetryInfo] = []
    if reason is not None:
        details.append(ErrorInfo(reason=reason, domain="penstock"))
    if delay is not None:
        duration = Duration()
        duration.FromNanoseconds(int(delay * 1e9))
        details.append(RetryInfo(retry_delay=duration))
    return _error(status, "scripted", details, (), None)


LOST = failure(Code.UNAVAILABLE)


def attempts(
    retry: Retry | None = None,
    *,
    ends: float | None = None,
    chance: float = 0.5,
    keyed: bool = False,
    once: bool = False,
    budget: RetryBudget | None = None,
) -> Attempts:
    made = Attempts(retry or Retry(), budget or RetryBudget(), ends, lambda: chance, keyed=keyed, once=once)
    made.made = 1
    return made


@given(failures=st.integers(1, 200), chance=st.floats(0, 1, exclude_max=True))
def test_the_wait_grows_from_the_base_to_the_cap_with_full_jitter(failures: int, chance: float) -> None:
    retry = Retry(base=0.2, cap=5.0)

    wait = backoff(retry, failures, lambda: chance)

    assert 0 <= wait <= min(5.0, 0.2 * 2.0 ** (failures - 1))
    assert backoff(retry, 3, lambda: 0.5) == pytest.approx(0.4)


@given(ends=st.floats(0.1, 10), now=st.floats(0, 10), hint=st.none() | st.floats(0, 300), chance=st.floats(0, 0.99))
def test_no_attempt_begins_after_the_end(ends: float, now: float, hint: float | None, chance: float) -> None:
    delay = attempts(ends=ends, chance=chance).failed(
        failure(Code.UNAVAILABLE, "LOADING", hint), now, now, untried=False
    )

    assert delay is None or now + delay < ends


def test_a_replica_that_was_not_tried_is_tried_at_once() -> None:
    assert attempts().failed(failure(Code.UNAVAILABLE, "LOADING", 9), 0.0, 0.0, untried=True) == 0.0
    assert attempts().failed(failure(Code.UNAVAILABLE, "LOADING", 9), 0.0, 0.0, untried=False) == 9.0
    assert attempts().failed(failure(Code.RESOURCE_EXHAUSTED, "OVERLOADED", 9), 0.0, 0.0, untried=True) == 9.0


@pytest.mark.parametrize("timeout", [ConnectTimeout("late"), FirstTokenTimeout("late")])
def test_a_limit_that_passed_sends_the_call_elsewhere_or_stands(timeout: APIError) -> None:
    assert attempts().failed(timeout, 0.0, 0.0, untried=True) == 0.0
    assert attempts().failed(timeout, 0.0, 0.0, untried=False) is None


def test_internal_errors_are_repeated_once_and_only_with_a_key() -> None:
    keyed = attempts(keyed=True)

    assert attempts().failed(failure(Code.INTERNAL), 0.0, 0.0, untried=True) is None
    assert keyed.failed(failure(Code.INTERNAL), 0.0, 0.0, untried=False) is not None
    assert keyed.failed(failure(Code.INTERNAL), 0.0, 0.0, untried=False) is None


def test_a_cancellation_without_a_reason_was_grpcs_or_a_proxys_and_is_tried_again() -> None:
    assert attempts().failed(failure(Code.CANCELLED), 0.0, 0.0, untried=True) == 0.0
    assert attempts().failed(failure(Code.CANCELLED), 0.0, 0.0, untried=False) is not None
    assert attempts().failed(failure(Code.CANCELLED, "CANCELLED"), 0.0, 0.0, untried=True) is None
    assert attempts(once=True).failed(failure(Code.CANCELLED), 0.0, 0.0, untried=True) is None


def test_what_must_not_run_twice_is_repeated_only_if_nothing_ran() -> None:
    assert attempts(once=True).failed(LOST, 0.0, 0.0, untried=False) is None
    assert attempts(once=True).failed(failure(Code.ABORTED), 0.0, 0.0, untried=False) is None
    assert attempts(once=True).failed(failure(Code.UNAVAILABLE, "LOADING"), 0.0, 0.0, untried=False) is not None
    assert attempts(once=True).failed(failure(Code.RESOURCE_EXHAUSTED, "QUOTA", 1), 0.0, 0.0, untried=False) == 1.0


def test_the_budget_stops_retries_at_its_half_and_successes_earn_them_back() -> None:
    budget, retry = RetryBudget(), Retry(attempts=100, budget=0.5)
    for _ in range(4):
        assert attempts(retry, budget=budget).failed(LOST, 0.0, 0.0, untried=False) is not None
    assert attempts(retry, budget=budget).failed(LOST, 0.0, 0.0, untried=False) is None

    for _ in range(4):
        attempts(retry, budget=budget).succeeded()

    assert attempts(retry, budget=budget).failed(LOST, 0.0, 0.0, untried=False) is not None


def fail(budget: RetryBudget, error: APIError, began: float, now: float, endpoint: str = "a:1") -> None:
    attempts(Retry(attempts=100), budget=budget).failed(error, began, now, False, endpoint)


def test_the_calls_of_one_broken_connection_take_one_token_together() -> None:
    budget = RetryBudget()

    for call in range(100):
        fail(budget, LOST, began=1.0, now=2.0 + call / 2000)
    assert budget.tokens == 9
    fail(budget, LOST, began=2.06, now=2.07)

    assert budget.tokens == 8


def test_the_connections_to_two_replicas_that_break_at_once_take_a_token_each() -> None:
    budget = RetryBudget()

    for call in range(100):
        fail(budget, LOST, began=1.0, now=2.0 + call / 2000, endpoint=f"{'ab'[call % 2]}:1")

    assert budget.tokens == 8


@pytest.mark.parametrize(
    "error", [failure(Code.UNAVAILABLE, "LOADING"), failure(Code.ABORTED), failure(Code.RESOURCE_EXHAUSTED, "QUOTA", 1)]
)
def test_calls_that_fail_by_themselves_take_a_token_each_however_much_they_overlap(error: APIError) -> None:
    budget = RetryBudget()

    for call in range(4):
        fail(budget, error, began=1.0, now=2.0 + call / 2000)

    assert budget.tokens == 6


def test_a_hedge_takes_a_token_and_hides_no_failure() -> None:
    budget = RetryBudget()

    attempts(budget=budget).hedged()
    fail(budget, LOST, began=0.0, now=0.01)

    assert budget.tokens == 8


@pytest.mark.parametrize("seconds", [0.01, 1, 5])
@pytest.mark.parametrize("healthy", [0, 0.1, 0.5])
def test_two_hundred_callers_in_a_partial_outage_do_not_double_the_load(seconds: float, healthy: float) -> None:
    """Of overlapping attempts that last so long, this part succeeds."""
    chance, budget, retry = random.Random(1), RetryBudget(), Retry(base=0)
    calls = [(chance.random() * seconds, caller) for caller in range(200)]
    under_way = dict.fromkeys(range(200), attempts(retry, budget=budget))
    made = begun = 0
    for _ in range(20_000):
        ends, caller = heapq.heappop(calls)
        made += 1
        call = under_way[caller]
        if chance.random() < healthy:
            call.succeeded()
            delay = None
        else:
            delay = call.failed(LOST, ends - seconds, ends, False, f"{caller % 4}:1")
        if delay is None:
            begun += 1
            under_way[caller] = attempts(retry, budget=budget)
        else:
            call.made += 1
        heapq.heappush(calls, (ends + seconds, caller))

    assert made / begun < 2


@given(st.lists(st.booleans(), max_size=400))
def test_the_budget_stays_between_empty_and_full(outcomes: list[bool]) -> None:
    budget = RetryBudget()

    for succeeded in outcomes:
        budget.succeeded(0.1) if succeeded else budget.spent()

    assert 0 <= budget.tokens <= 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attempts": 0}, r"retry\.attempts is 0; it must be 1 to 100"),
        ({"attempts": 2.5}, r"retry\.attempts must be an int"),
        ({"base": -1}, r"retry\.base is -1\.0; it must be 0 or more"),
        ({"cap": None}, r"retry\.cap must be a number"),
        ({"budget": float("nan")}, r"retry\.budget is nan"),
    ],
)
def test_an_impossible_policy_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Retry(**wrong)  # type: ignore[arg-type]


def recovery(idle: float | None = None, ends: float | None = None) -> Recovery:
    return Recovery(Retry(base=0.1, cap=0.1), idle, ends, lambda: 0.5)


def test_a_broken_connection_is_read_on_at_once_and_then_with_backoff() -> None:
    broken = recovery()

    steps = [broken.step(LOST, 0.0, known=True, others=False) for _ in range(5)]

    assert [step and (step.how, step.delay) for step in steps] == [(How.RESUME, 0.0)] + [(How.RESUME, 0.05)] * 4


def test_a_replica_that_stays_away_is_replaced_if_there_is_another() -> None:
    broken = recovery()

    steps = [broken.step(LOST, 0.0, known=True, others=True) for _ in range(RECONNECTS + 1)]

    assert [step and step.how for step in steps] == [How.RESUME] * RECONNECTS + [How.CONTINUE]


@pytest.mark.parametrize(
    "error",
    [
        failure(Code.NOT_FOUND, "GENERATION_NOT_FOUND"),
        failure(Code.OUT_OF_RANGE, "CHUNKS_GONE"),
        failure(Code.UNAVAILABLE, "ENGINE_DEAD"),
    ],
)
def test_a_lost_generation_goes_on_elsewhere_at_once(error: APIError) -> None:
    broken = recovery()

    step = broken.step(error, 0.0, known=True, others=False)

    assert step is not None
    assert (step.how, step.delay) == (How.CONTINUE, 0.0)
    assert broken.lost


@pytest.mark.parametrize(
    "error",
    [
        failure(Code.INTERNAL, "INTERNAL"),
        failure(Code.INVALID_ARGUMENT, "INVALID_FIELD"),
        failure(Code.DEADLINE_EXCEEDED, "DEADLINE"),
        failure(Code.RESOURCE_EXHAUSTED, "SLOW_READER"),
        failure(Code.CANCELLED, "CANCELLED"),
        IdleTimeout("late"),
    ],
)
def test_what_ended_the_generation_itself_stands(error: APIError) -> None:
    assert recovery().step(error, 0.0, known=True, others=True) is None


def test_a_replica_without_a_connection_is_passed_over_if_there_is_another() -> None:
    assert recovery().step(ConnectTimeout("late"), 0.0, known=True, others=False) is None
    lost = recovery()
    lost.step(failure(Code.NOT_FOUND, "GENERATION_NOT_FOUND"), 0.0, known=True, others=True)

    step = lost.step(ConnectTimeout("late"), 1.0, known=True, others=True)

    assert step is not None
    assert step.how is How.CONTINUE


def test_a_server_may_forbid_to_go_on() -> None:
    error = _error(Code.UNAVAILABLE, "go away", [], (("grpc-retry-pushback-ms", "-1"),), None)

    assert recovery().step(error, 0.0, known=True, others=True) is None


def test_a_break_is_waited_out_for_as_long_as_a_stream_may_be_idle() -> None:
    assert recovery(idle=2.0).step(LOST, 0.0, known=True, others=False) is not None
    patient = recovery(idle=2.0)
    patient.step(LOST, 10.0, known=True, others=False)

    assert patient.step(LOST, 11.9, known=True, others=False) is not None
    assert patient.step(LOST, 12.0, known=True, others=False) is None
    assert recovery(ends=5.0).step(LOST, 5.0, known=True, others=False) is None


def test_each_chunk_begins_the_patience_anew() -> None:
    patient = recovery(idle=2.0)
    patient.step(LOST, 0.0, known=True, others=False)

    patient.progress()

    assert patient.step(LOST, 100.0, known=True, others=False) is not None


@given(
    endpoint=st.text(min_size=1, max_size=60),
    id=st.text(min_size=1, max_size=40),
    next_seq=st.integers(0, 1 << 40),
    offset=st.integers(0, 1 << 40),
    shows_token_ids=st.booleans(),
    prompt_tokens=st.none() | st.integers(0, 1 << 20),
)
def test_a_token_says_where_to_read_on(
    endpoint: str, id: str, next_seq: int, offset: int, shows_token_ids: bool, prompt_tokens: int | None
) -> None:
    point = ResumePoint(endpoint, id, next_seq, offset, shows_token_ids, 1, prompt_tokens, 7)

    token = point.token()

    assert read_token(token) == point
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()


@given(token=st.text(max_size=80), at=st.integers(0, 60))
def test_a_token_that_was_changed_is_refused(token: str, at: int) -> None:
    genuine = ResumePoint("localhost:1", "gen", 3).token()
    for wrong in (token, genuine[:-1], genuine[:at] + "A" + genuine[at:]):
        with pytest.raises(ValueError, match="resume_token"):
            read_token(wrong)


@given(
    limit=st.floats(0.1, 10),
    idle=st.none() | st.floats(0.1, 10),
    reads=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), min_size=1, max_size=10),
)
def test_a_reader_is_given_up_when_it_waits_longer_than_the_limit_and_never_before(
    limit: float, idle: float | None, reads: list[tuple[float, float]]
) -> None:
    """Each read comes after a while of its reader's own, and waits for a while."""
    expired_at: list[float] = []
    watch = Watch(idle)
    now = 0.0
    watch.begin(lambda: expired_at.append(now), limit)
    look = watch.look(0.0)

    def pass_until(moment: float) -> None:
        nonlocal look, now
        while look is not None and look <= moment:
            now = look
            look = watch.look(now)
        now = moment

    allowed: float | None = limit
    for own, waited in reads:
        pass_until(now + own)
        began = now
        watch.waiting_since = began
        if allowed is not None and waited > allowed:
            pass_until(began + waited)
            assert expired_at == [pytest.approx(began + allowed)]
            assert watch.expired == allowed
            return
        pass_until(began + waited * 0.999)
        watch.waiting_since = None
        assert expired_at == []
        watch.output_came()
        allowed = idle


def test_a_limit_on_first_chunks_alone_holds_again_when_another_replica_goes_on() -> None:
    expired: list[float] = []
    watch = Watch(None)
    watch.begin(lambda: expired.append(0.0), 30.0)
    watch.look(0.0)
    watch.output_came()
    assert watch.look(30.0) is None

    assert watch.begin(lambda: expired.append(90.0), 30.0)
    watch.waiting_since = 60.0
    assert watch.look(60.0) == 90.0
    watch.look(90.0)

    assert expired == [90.0]


def test_a_watch_without_limits_needs_nobody_to_look() -> None:
    assert not Watch(None).begin(lambda: None, None)
    assert Watch(1.0).begin(lambda: None, None)
