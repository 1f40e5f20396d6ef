"""What a tenant may take by its own quota; seconds are arguments."""

import pytest

from penstock_service.errors import QuotaExceeded
from penstock_service.quotas import Quotas
from penstock_service.tenant import Tenant

METERED = Tenant("metered", tokens_per_minute=600)
TWO_AT_A_TIME = Tenant("two", max_concurrent_calls=2)


def wait_of(quotas: Quotas, tenant: Tenant, now: float) -> float:
    """Seconds for which the tenant is refused; 0 if it is let in."""
    refusal = quotas.refusal(tenant, now)
    return 0 if refusal is None else refusal.retry_after.total_seconds()


def test_one_minutes_tokens_can_be_taken_at_once_and_no_more() -> None:
    quotas = Quotas()

    quotas.charge(METERED, 599, now=0)
    assert wait_of(quotas, METERED, now=0) == 0

    quotas.charge(METERED, 1, now=0)
    assert wait_of(quotas, METERED, now=0) > 0


def test_the_delay_is_until_the_balance_is_positive_and_not_longer() -> None:
    quotas = Quotas()
    quotas.charge(METERED, 900, now=0)  # 300 of debt, at 10 a second

    wait = wait_of(quotas, METERED, now=0)

    assert wait == pytest.approx(30.1)
    assert wait_of(quotas, METERED, now=wait - 0.2) > 0
    assert wait_of(quotas, METERED, now=wait) == 0


def test_a_call_that_was_let_in_may_go_into_debt() -> None:
    quotas = Quotas()
    quotas.charge(METERED, 599, now=0)

    quotas.begin(METERED, now=0)
    quotas.charge(METERED, 6000, now=0)

    with pytest.raises(QuotaExceeded, match=r"tokens_per_minute: of 600 the balance is -5999"):
        quotas.begin(METERED, now=1 / 10_000)


def test_nobody_saves_more_than_a_minute() -> None:
    quotas = Quotas()
    quotas.charge(METERED, 1, now=0)

    quotas.charge(METERED, 600, now=86_400)

    assert wait_of(quotas, METERED, now=86_400) > 0


def test_calls_at_a_time_are_counted_until_they_end() -> None:
    quotas = Quotas()
    quotas.begin(TWO_AT_A_TIME, now=0)
    second = quotas.begin(TWO_AT_A_TIME, now=0)

    with pytest.raises(QuotaExceeded, match="max_concurrent_calls: 2 calls run, of 2 at most"):
        quotas.begin(TWO_AT_A_TIME, now=0)

    quotas.end(second)
    quotas.begin(TWO_AT_A_TIME, now=0)


def test_a_refused_call_does_not_count() -> None:
    quotas = Quotas()
    first, _ = [quotas.begin(TWO_AT_A_TIME, now=0) for _ in range(2)]
    for _ in range(3):
        with pytest.raises(QuotaExceeded):
            quotas.begin(TWO_AT_A_TIME, now=0)

    quotas.end(first)

    assert quotas.refusal(TWO_AT_A_TIME, now=0) is None


def test_calls_begun_before_their_tenant_got_its_quota_make_no_room_for_others_when_they_end() -> None:
    quotas = Quotas()
    before = quotas.begin(Tenant(TWO_AT_A_TIME.name), now=0)
    for _ in range(2):
        quotas.begin(TWO_AT_A_TIME, now=1)

    quotas.end(before)

    with pytest.raises(QuotaExceeded, match="2 calls run, of 2 at most"):
        quotas.begin(TWO_AT_A_TIME, now=2)


def test_a_call_takes_what_it_is_likely_to_need_until_it_has_ended() -> None:
    quotas = Quotas()
    counted = quotas.begin(METERED, now=0, tokens=700)

    with pytest.raises(QuotaExceeded, match="of 600 the balance is -100"):
        quotas.begin(METERED, now=0)

    quotas.charge(METERED, 10, now=0)
    quotas.end(counted)
    assert wait_of(quotas, METERED, now=0) == 0


def test_what_only_reads_has_the_same_limit_by_itself() -> None:
    quotas = Quotas()
    for _ in range(2):
        quotas.begin(TWO_AT_A_TIME, now=0, reads=True)

    quotas.begin(TWO_AT_A_TIME, now=0)

    with pytest.raises(QuotaExceeded, match="2 calls run, of 2 at most"):
        quotas.begin(TWO_AT_A_TIME, now=0, reads=True)


def test_one_tenants_debt_is_not_anothers() -> None:
    quotas = Quotas()
    quotas.charge(METERED, 9999, now=0)

    assert quotas.refusal(Tenant("other", tokens_per_minute=600), now=0) is None


def test_without_a_quota_nothing_is_counted() -> None:
    quotas = Quotas()

    for _ in range(100):
        quotas.begin(Tenant("free"), now=0)
        quotas.charge(Tenant("free"), 10**9, now=0)

    assert quotas.refusal(Tenant("free"), now=0) is None
    assert not quotas._accounts


def test_of_many_tenants_those_who_called_least_lately_are_forgotten() -> None:
    quotas = Quotas()
    quotas.begin(TWO_AT_A_TIME, now=0)
    for number in range(5000):
        quotas.charge(Tenant(f"tenant-{number}", tokens_per_minute=1), 5, now=number)

    assert len(quotas._accounts) <= 4096
    assert wait_of(quotas, Tenant("tenant-4999", tokens_per_minute=1), now=4999) > 0
    quotas.begin(TWO_AT_A_TIME, now=4999)
    assert wait_of(quotas, TWO_AT_A_TIME, now=4999) > 0
