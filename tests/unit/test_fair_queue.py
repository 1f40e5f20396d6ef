"""Whose turn it is: fair between tenants, and by priority and arrival inside one."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_service.fair_queue import FairQueue, Waiter


def waiters(queue: FairQueue, tenant: str, count: int, cost: float = 10, priority: int = 0) -> list[Waiter]:
    added = [Waiter(tenant, 1, cost, priority) for _ in range(count)]
    for waiter in added:
        queue.add(waiter)
    return added


def turns(queue: FairQueue, count: int) -> list[Waiter]:
    return [queue.pop() for _ in range(count)]


def test_one_tenant_has_its_turns_in_the_order_of_arrival() -> None:
    queue = FairQueue()

    added = waiters(queue, "a", 5)

    assert turns(queue, 5) == added
    assert not queue


def test_inside_a_tenant_the_lower_priority_comes_first() -> None:
    queue = FairQueue()
    last, *_ = waiters(queue, "a", 1, priority=5)
    first, second = waiters(queue, "a", 2, priority=-1)

    assert turns(queue, 3) == [first, second, last]


def test_a_priority_is_of_no_use_against_other_tenants() -> None:
    queue = FairQueue()
    waiters(queue, "a", 4, priority=0)
    waiters(queue, "b", 4, priority=-9)

    assert Counter(waiter.tenant for waiter in turns(queue, 4)) == {"a": 2, "b": 2}


def test_tenants_take_turns_by_cost() -> None:
    queue = FairQueue()
    waiters(queue, "large", 100, cost=30)
    waiters(queue, "small", 100, cost=10)

    had = Counter(waiter.tenant for waiter in turns(queue, 80))

    assert had == {"large": 20, "small": 60}


def test_one_who_comes_anew_passes_those_who_have_much_waiting() -> None:
    queue = FairQueue()
    waiters(queue, "heavy", 100)
    turns(queue, 50)

    assert queue.ahead("light") == 0
    (light,) = waiters(queue, "light", 1)

    assert turns(queue, 1) == [light]


def test_nobody_saves_up_turns_by_being_away() -> None:
    queue = FairQueue()
    waiters(queue, "here", 100)
    turns(queue, 50)
    waiters(queue, "away", 50)

    assert Counter(waiter.tenant for waiter in turns(queue, 40)) == {"here": 20, "away": 20}


def test_turns_that_nobody_waited_for_count_too() -> None:
    queue = FairQueue()
    for _ in range(3):
        queue.served("a", 10)
    waiters(queue, "a", 1)
    waiters(queue, "b", 1)

    assert [waiter.tenant for waiter in turns(queue, 2)] == ["b", "a"]


def test_one_who_waits_no_longer_has_no_turn_and_costs_nothing() -> None:
    queue = FairQueue()
    first, second = waiters(queue, "a", 2)
    waiters(queue, "b", 1)

    queue.remove(first)

    assert second in turns(queue, 2)
    assert (queue.sequences, bool(queue)) == (0, False)


def test_of_many_tenants_only_so_many_are_remembered() -> None:
    queue = FairQueue()

    for number in range(5000):
        queue.served(f"tenant-{number}", 10)

    assert len(queue._next_tags) <= 1024


arrivals = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.floats(1, 1000), st.integers(-1, 1)), max_size=30
)


@pytest.mark.parametrize("had", [0, 3])
@given(arrivals)
def test_the_order_that_is_told_is_the_order_of_the_turns(had: int, arrived: list[tuple[str, int, float, int]]) -> None:
    queue = FairQueue()
    for each in arrived:
        queue.add(Waiter(*each))
    turns(queue, min(had, len(arrived)))

    told = queue.order()

    assert queue.sequences == sum(waiter.sequences for waiter in told)
    assert turns(queue, len(told)) == told


@given(arrivals, st.sampled_from("abcd"))
def test_who_is_ahead_of_a_newcomer_has_the_turns_before_it(
    arrived: list[tuple[str, int, float, int]], tenant: str
) -> None:
    queue = FairQueue()
    for each in arrived:
        queue.add(Waiter(*each))
    ahead = queue.ahead(tenant)
    newcomer = Waiter(tenant, 1, 1.0)
    queue.add(newcomer)

    order = queue.order()

    assert sum(waiter.sequences for waiter in order[: order.index(newcomer)]) == ahead
