"""Leases that are given back by whoever, in whatever moment."""

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from penstock.channel import Dialer, Security
from penstock.endpoints.home import Home
from penstock.endpoints.lease import Lease
from penstock.endpoints.lookup import SOONEST_SECONDS
from penstock.endpoints.settings import PoolSettings
from penstock.endpoints.standing import FAILURES_TO_EJECT, LONGEST_COOLDOWN_SECONDS
from penstock.endpoints.targets import Address, parse_targets


class Calls:
    """Stands for the RPCs of a channel."""


class DialOnly:
    """Dials, and then does what a test wants to happen in the middle of an `acquire`."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] = lambda: None

    def dial(self, address: Address, security: Security, extra: bool) -> Calls:
        self.meanwhile()
        return Calls()

    def probe(self, calls: Calls, report: Callable[[bool], None]) -> None:
        raise AssertionError("nothing is ejected here")


def home_of(target: Any, io: DialOnly) -> Home[Calls]:
    return Home(PoolSettings(parse_targets(target), Dialer()), io)


def test_a_collector_of_garbage_may_give_a_lease_back_while_its_thread_acquires_another() -> None:
    io = DialOnly()
    home = home_of(["a:1", "b:1"], io)
    first = home.acquire(())
    io.meanwhile = lambda: first.release(False)

    second = home.acquire([first.endpoint])

    in_flight = {status.endpoint: status.in_flight for status in home.statuses()}
    assert in_flight == {first.endpoint: 0, second.endpoint: 1}


def test_a_lease_is_given_back_once() -> None:
    home = home_of("a:1", DialOnly())
    lease, kept = home.acquire(()), home.acquire(())

    for failed in (False, True, None):
        lease.release(failed)

    assert [(status.in_flight, status.failures) for status in home.statuses()] == [(1, 0)]
    assert not kept.released


def test_threads_and_the_collector_lose_no_lease() -> None:
    home = home_of(["a:1", "b:1"], DialOnly())

    class Forgotten:
        """Gives its lease back when it is collected, which takes a collector: it holds itself."""

        def __init__(self, lease: Lease[Calls]) -> None:
            self.lease = lease
            self.myself = self

        def __del__(self) -> None:
            self.lease.release(None)

    start = threading.Barrier(4)

    def forget_many() -> None:
        start.wait()
        for _ in range(500):
            Forgotten(home.acquire(()))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: forget_many(), range(4)))
    gc.collect()

    assert {status.in_flight for status in home.statuses()} == {0}


def test_a_channel_that_nothing_uses_any_more_is_let_go() -> None:
    home = home_of("a:1", DialOnly())
    lease = home.acquire(())

    assert home.close() == [lease.calls]
    del lease, home
    gc.collect()

    assert not [thing for thing in gc.get_objects() if type(thing) is Calls]


def test_a_name_that_no_thread_can_look_up_is_looked_up_later_and_calls_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    home = Home(PoolSettings(parse_targets("dns:///llm.test:1"), Dialer(), clock=lambda: now), DialOnly())

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_thread)
        home.look_up()
        assert home.acquire(()).endpoint == "llm.test:1"
    assert home.resolved.done()

    asked = threading.Event()
    monkeypatch.setattr("penstock.endpoints.home.resolve", lambda _: asked.set() or [])
    now = SOONEST_SECONDS
    home.acquire(())
    assert asked.wait(20)


def test_a_probe_that_cannot_be_sent_costs_no_call_and_is_sent_later() -> None:
    now = 0.0
    io = DialOnly()
    probed: list[Calls] = []

    def fail(calls: Calls, report: Callable[[bool], None]) -> None:
        probed.append(calls)
        raise RuntimeError("can't start new thread")

    io.probe = fail  # type: ignore[method-assign]
    home = Home(PoolSettings(parse_targets(["a:1", "b:1"]), Dialer(), clock=lambda: now), io)
    for _ in range(FAILURES_TO_EJECT):
        lease = home.lease_of("a:1")
        assert lease is not None
        lease.release(True)

    for later in (1, 2):
        now = later * LONGEST_COOLDOWN_SECONDS
        lease = home.acquire(())
        assert lease.endpoint == "b:1"
        assert len(probed) == later
