"""Long work leaves half of the time to others, and a tenant with much of it does not keep the others waiting."""

import asyncio
import gc
import threading
import weakref
from functools import partial
from types import SimpleNamespace

import pytest

from penstock_service import resting_thread
from penstock_service.resting_thread import RestingThread
from tests.conftest import eventually


class Clock:
    """Stands still but for those who wait and work."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rests: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now += seconds

    def passes(self, seconds: float) -> float:
        self.now += seconds
        return seconds


async def test_it_rests_for_as_long_as_it_has_worked_and_not_when_nobody_came_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, thread = Clock(), RestingThread("test")
    monkeypatch.setattr(resting_thread, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep))

    assert await thread.run("", 1, lambda: clock.passes(3)) == 3
    with pytest.raises(ZeroDivisionError):
        await thread.run("", 1, lambda: clock.passes(2) / 0)
    await _taken(thread)
    clock.passes(1)
    await thread.run("", 1, lambda: clock.passes(4))
    await _taken(thread)
    clock.passes(9)
    await thread.run("", 1, lambda: None)

    assert clock.rests[:2] == [0, 3]
    assert clock.rests[-1] == 0
    assert 1 in clock.rests


async def test_tenants_take_turns_by_what_their_work_costs() -> None:
    thread, order, go_on = RestingThread("test"), list[str](), threading.Event()
    first = asyncio.create_task(thread.run("", 1, lambda: go_on.wait(60)))
    await asyncio.sleep(0)

    def work(tenant: str, cost: float) -> "asyncio.Task[None]":
        return asyncio.create_task(thread.run(tenant, cost, lambda: order.append(tenant)))

    waiting = [work("much", 100) for _ in range(4)] + [work("little", 10) for _ in range(4)]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, *waiting)

    assert order == ["much", "little", "little", "little", "little", "much", "much", "much"]


async def test_who_leaves_is_forgotten_at_once_and_costs_the_own_tenant_no_turn() -> None:
    thread, go_on, order = RestingThread("test"), threading.Event(), list[str]()
    running = asyncio.create_task(thread.run("", 1, lambda: go_on.wait(60)))
    await asyncio.sleep(0)
    await eventually(lambda: not thread._waiting, "it has its turn")

    def work(tenant: str, name: str) -> "asyncio.Task[None]":
        return asyncio.create_task(thread.run(tenant, 10, partial(order.append, name)))

    leaving = [work("one", "left") for _ in range(100)]
    staying = [work("one", "one"), work("other", "other"), work("other", "other")]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    assert thread._waiting.sequences == len(staying)

    go_on.set()
    await asyncio.gather(running, *staying)

    assert order == ["one", "other", "other"]
    assert await thread.run("one", 1, lambda: "and goes on") == "and goes on"


async def test_who_leaves_in_the_own_turn_leaves_it_to_its_end() -> None:
    thread, began, go_on = RestingThread("test"), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait(60)

    leaving = asyncio.create_task(thread.run("", 1, work))
    await asyncio.to_thread(began.wait, 60)
    next_one = asyncio.create_task(thread.run("", 1, lambda: "next"))

    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    go_on.set()

    assert await next_one == "next"


async def test_an_error_keeps_nothing_of_the_work_alive() -> None:
    class Large:
        def fail(self) -> None:
            raise ZeroDivisionError

    thread, large = RestingThread("test"), Large()
    known = weakref.ref(large)
    gc.disable()
    try:
        with pytest.raises(ZeroDivisionError):
            await thread.run("", 1, large.fail)
        del large
        await eventually(lambda: known() is None, "it is forgotten")
    finally:
        gc.enable()


async def _taken(thread: RestingThread) -> None:
    """Until the turn before is over for the thread, too."""
    await asyncio.wrap_future(thread._pool.submit(lambda: None))
