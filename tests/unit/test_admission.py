"""Which calls are let in: sequences, waiting tokens, predicted waits and shares; seconds are arguments."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1.models_pb2 import Model
from penstock_service.admission import Admission, AdmissionLimits, Admitted, Asked, Outlook
from penstock_service.engine_places import places_in
from penstock_service.errors import DeadlineExceeded, Overloaded, ServiceError
from penstock_service.settings import Settings
from tests.unit.shared_server import SharedServer

LIMITS = AdmissionLimits(places=16, sequences=24, queued_tokens=1000, wait_seconds=10, tenant_share=0.5)
FREE = Outlook(waits=False, wait=0.0)


def waits(seconds: float | None, first_token: float | None = None) -> Outlook:
    return Outlook(waits=True, wait=seconds, first_token=first_token, between_ends=0.1)


def admit(
    admission: Admission, sequences: int = 1, tokens: int = 0, tenant: str = "", now: float = 0, at: Outlook = FREE
) -> Admitted:
    return admission.admit(Asked(tenant, sequences, tokens), LIMITS, at, now)


def holding(sequences: int, tokens: int = 0, tenant: str = "") -> Admission:
    admission = Admission()
    admission.hold(tenant, sequences, tokens)
    return admission


def refused(admission: Admission, asked: Asked, at: Outlook = FREE, now: float = 0) -> ServiceError:
    refusal = admission.refusal(asked, LIMITS, at, now)
    assert refusal is not None
    return refusal


def refused_at_last(admission: Admission, tenant: str) -> Overloaded:
    """Admit calls of the tenant until one is refused."""
    with pytest.raises(Overloaded) as refusal:
        for _ in iter(lambda: admit(admission, tenant=tenant), None):
            pass
    return refusal.value


# How much.


def test_no_more_sequences_are_let_in_than_the_limit() -> None:
    admission = Admission()

    for _ in range(24):
        admit(admission)

    with pytest.raises(Overloaded, match="24 sequences run or wait, of 24 at most, and the call has 1"):
        admit(admission)
    assert admission.sequences == 24


def test_a_call_with_many_sequences_is_let_in_whole_or_not_at_all() -> None:
    admission = holding(20)

    admit(admission, sequences=4)

    with pytest.raises(Overloaded):
        admit(holding(20), sequences=5)


def test_what_is_larger_than_everything_is_let_in_when_nothing_else_is_there() -> None:
    assert admit(Admission(), sequences=100)

    with pytest.raises(Overloaded):
        admit(holding(1), sequences=100)


def test_what_a_call_held_is_free_when_it_is_released_and_once() -> None:
    admission = holding(0)
    call = admit(admission, sequences=24, tokens=500)

    call.release()
    call.release()

    assert (admission.sequences, admission.queued_tokens, admission._held) == (0, 0, {})


def test_prompt_tokens_count_until_they_have_a_place_in_the_engine() -> None:
    admission = Admission()
    call = admit(admission, sequences=2, tokens=900, at=waits(None))

    with pytest.raises(Overloaded, match="900 prompt tokens wait, of 1000 at most, and the call has about 200"):
        admit(admission, tokens=200, at=waits(None))

    call.begun(800)
    assert admit(admission, tokens=200, at=waits(None))


def test_tokens_that_need_not_wait_have_no_limit() -> None:
    assert admit(holding(1, tokens=1000), tokens=5000)


def test_a_prompt_larger_than_the_limit_may_wait_when_none_does() -> None:
    assert admit(holding(20), tokens=5000, at=waits(None))


def test_a_wait_that_is_too_long_by_prediction_is_refused() -> None:
    assert admit(holding(20), at=waits(9.9))

    with pytest.raises(Overloaded, match=r"place is 12\.0 s away by prediction; max_wait_seconds is 10"):
        admit(holding(20), at=waits(12))


def test_where_nothing_waits_no_wait_is_too_long() -> None:
    """With a few slow places the engine's own look-ahead may be: they are not to stay empty."""
    assert admit(holding(20), at=Outlook(waits=False, wait=12, between_ends=12))


def test_a_tenants_next_ones_are_let_in_whatever_others_make_them_wait() -> None:
    pressed = holding(20, tenant="heavy")
    its_first = Outlook(waits=True, wait=12, between_ends=1, own_waiting=1)

    assert admit(pressed, tenant="light", at=its_first)
    with pytest.raises(Overloaded, match="max_wait_seconds is 10"):
        admit(pressed, tenant="light", at=its_first._replace(own_waiting=2))
    with pytest.raises(Overloaded, match="max_wait_seconds is 10"):
        admit(pressed, sequences=2, tenant="light", at=its_first)
    assert admit(pressed, sequences=2, tenant="light", at=its_first._replace(own_waiting=0))
    with pytest.raises(Overloaded, match="max_wait_seconds is 10"):
        admit(holding(18, tenant="alone"), tenant="alone", at=its_first)


def test_nothing_is_refused_by_a_prediction_that_nobody_can_make() -> None:
    assert admit(holding(20), at=waits(None))


# In time.


def test_a_deadline_before_the_predicted_first_token_is_refused_at_once_with_both_figures() -> None:
    too_late = refused(holding(20), Asked("", 1, 0, seconds_left=2.5), waits(2, first_token=3))

    assert isinstance(too_late, DeadlineExceeded)
    assert str(too_late) == (
        "the first token is 3.00 s away by prediction, 2.00 s of them waiting for the engine, "
        "and the call's deadline 2.50 s"
    )


@pytest.mark.parametrize("left", [None, 3.5])
def test_a_deadline_after_it_is_not(left: float | None) -> None:
    assert holding(20).refusal(Asked("", 1, 0, left), LIMITS, waits(2, first_token=3), 0) is None


def test_where_nothing_waits_no_deadline_is_too_near_to_try() -> None:
    """Else slow beginnings would refuse everybody for ever: what is not let in is not measured."""
    assert holding(1).refusal(Asked("", 1, 0, seconds_left=0.001), LIMITS, FREE, 0) is None


# Told when to come again.


def test_the_delay_is_when_there_will_be_room() -> None:
    one = refused(holding(24), Asked("", 1, 0), waits(1))
    four = refused(holding(24), Asked("", 4, 0), waits(1))
    by_wait = refused(holding(20), Asked("", 1, 0), waits(12))

    delays = [error.retry_after.total_seconds() for error in (one, four, by_wait) if error.retry_after]
    assert delays == pytest.approx([0.1, 0.4, 2])


def test_those_who_are_refused_together_are_not_told_the_same_moment() -> None:
    admission = holding(24)
    delays = []

    for _ in range(1000):
        with pytest.raises(Overloaded) as refusal:
            admit(admission, at=waits(1))
        delays.append(refusal.value.retry_after.total_seconds())

    assert delays[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert max(delays) <= 30
    assert max(delays.count(delay) for delay in set(delays)) <= 4


def test_who_does_not_heed_the_delay_puts_off_no_other_tenant() -> None:
    admission = holding(24, tenant="somebody")
    for _ in range(100):
        with pytest.raises(Overloaded):
            admit(admission, tenant="hasty", at=waits(1))

    polite = refused(admission, Asked("polite", 1, 0), waits(1))

    assert polite.retry_after is not None
    assert polite.retry_after.total_seconds() == pytest.approx(0.1)


def test_calls_that_need_much_are_told_different_moments_too() -> None:
    admission = holding(24)
    delays = []
    for _ in range(4):
        with pytest.raises(Overloaded) as refusal:
            admit(admission, sequences=1000, at=waits(1))
        delays.append(refusal.value.retry_after.total_seconds())

    assert len(set(delays)) == 4


def test_the_moments_that_were_told_come_and_go() -> None:
    admission = holding(24)
    for _ in range(100):
        with pytest.raises(Overloaded):
            admit(admission, at=waits(1), now=0)

    later = refused(admission, Asked("", 1, 0), waits(1), now=20)

    assert later.retry_after is not None
    assert later.retry_after.total_seconds() == pytest.approx(0.1)


def test_while_nothing_is_measured_the_delay_is_a_second() -> None:
    refusal = refused(holding(24), Asked("", 1, 0))

    assert refusal.retry_after is not None
    assert refusal.retry_after.total_seconds() == 1


# Shared.


def test_alone_a_tenant_has_all_but_what_the_first_call_of_another_needs() -> None:
    admission = Admission()

    refusal = refused_at_last(admission, "heavy")

    assert str(refusal) == "21 sequences of this tenant run or wait, of 21 at most now, and the call has 1"
    assert admit(admission, tenant="light")


def test_where_nobody_tells_tenants_apart_everything_is_theirs() -> None:
    admission = Admission()

    for _ in range(24):
        assert admit(admission, tenant="")


def test_while_others_have_calls_here_a_tenant_has_its_share_of_what_they_leave() -> None:
    admission = Admission()
    for _ in range(4):
        admit(admission, tenant="light")

    refused_at_last(admission, "heavy")

    assert admission.sequences == 4 + 10


def test_a_tenant_that_called_lately_still_wants_some() -> None:
    admission = Admission()
    admit(admission, tenant="light", now=0).release()
    for _ in range(14):
        admit(admission, tenant="heavy", now=1)

    assert isinstance(admission.refusal(Asked("heavy", 1, 0), LIMITS, FREE, now=1), Overloaded)
    assert admission.refusal(Asked("heavy", 1, 0), LIMITS, FREE, now=10) is None


def test_a_share_leaves_no_place_of_the_engine_empty_that_nobody_else_needs() -> None:
    admission = Admission()
    admit(admission, tenant="light")

    for _ in range(13):  # of 16 places; its share would be 11
        admit(admission, tenant="heavy")

    with pytest.raises(Overloaded):
        admit(admission, tenant="heavy")


def test_tokens_that_wait_are_shared_as_well() -> None:
    admission = Admission()
    admission.hold("light", 1, 100)
    admit(admission, tenant="heavy", tokens=400, at=waits(None))

    with pytest.raises(Overloaded, match="400 prompt tokens of this tenant wait, of 450 at most now"):
        admit(admission, tenant="heavy", tokens=100, at=waits(None))


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 8), st.integers(0, 300))),
    st.floats(0.1, 1),
)
def test_whatever_comes_the_limits_hold_and_one_who_has_nothing_gets_the_room_that_is_left(
    came: list[tuple[str, int, int]], share: float
) -> None:
    limits = LIMITS._replace(tenant_share=share)
    admission, inside = Admission(), []
    for now, (tenant, sequences, tokens) in enumerate(came):
        has_nothing = tenant not in admission._held
        room = limits.sequences - admission.sequences >= sequences
        try:
            inside.append(admission.admit(Asked(tenant, sequences, tokens), limits, FREE, now))
        except Overloaded:
            assert not (has_nothing and room)
        assert admission.sequences <= limits.sequences

    for call in inside:
        call.release()
    assert (admission.sequences, admission.queued_tokens) == (0, 0)


@pytest.mark.parametrize("places", [8, 64])
def test_with_one_tenant_at_ten_times_what_the_server_can_do_the_nine_others_are_served(places: int) -> None:
    rates = {"heavy": 10.0 * places, **{f"light-{number}": 0.05 * places for number in range(9)}}
    server = SharedServer(places, rates, seed=1)

    server.run(seconds=60)

    light = [got for tenant, got in server.got.items() if tenant != "heavy"]
    ended, refused = sum(got.ended for got in light), sum(got.refused for got in light)
    assert ended / (ended + refused) >= 0.999
    assert ended + server.got["heavy"].ended >= 0.9 * 60 * places


@pytest.mark.parametrize("load", [2, 5])
def test_beyond_its_capacity_a_server_goes_on_at_its_capacity_and_predicts_the_waits(load: int) -> None:
    server = SharedServer(64, {"": load * 64.0}, seed=1)

    server.run(seconds=30)

    got = server.got[""]
    assert got.ended >= 0.95 * 30 * 64
    near = [predicted / came for predicted, came in got.predictions if came > 0.05]
    assert sum(0.5 <= ratio <= 2 for ratio in near) >= 0.9 * len(near) > 0


# By default.


def limits_of(places: int, **settings: Any) -> AdmissionLimits:
    return AdmissionLimits.of(Settings(**settings), Model(max_concurrent_sequences=places, context_length=4096))


def test_half_as_many_as_run_may_wait_or_32_of_a_small_engine() -> None:
    assert limits_of(256).sequences == 384
    assert limits_of(8).sequences == 40
    assert limits_of(256).queued_tokens == 32 * 4096
    assert (limits_of(256).wait_seconds, limits_of(256).tenant_share) == (10, 0.5)


@pytest.mark.parametrize("places", [1, 8, 256])
def test_each_of_several_front_ends_can_fill_the_engine_alone_and_have_some_wait(places: int) -> None:
    model = Model(max_concurrent_sequences=places)

    assert limits_of(places).sequences > limits_of(places, engine="vllm", frontends=4).sequences > places_in(model)


def test_several_front_ends_divide_what_the_operator_sets() -> None:
    limits = limits_of(256, engine="vllm", frontends=4, max_admitted_sequences=10, max_queued_tokens=99)

    assert (limits.sequences, limits.queued_tokens) == (3, 25)


def test_what_the_operator_sets_holds() -> None:
    set_by_operator = limits_of(256, max_admitted_sequences=7, max_queued_tokens=99)

    assert (set_by_operator.sequences, set_by_operator.queued_tokens) == (7, 99)


def test_the_engine_is_handed_an_eighth_more_than_it_runs() -> None:
    assert [places_in(Model(max_concurrent_sequences=places)) for places in (1, 8, 256)] == [3, 10, 288]
