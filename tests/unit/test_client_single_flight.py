"""Threads that want the same share one call, and none waits for one that is gone."""

import threading
from collections.abc import Callable

import pytest

from penstock.caching.single_flight import Flights
from penstock.errors import APIError, BadRequestError


def test_the_others_go_on_when_the_first_is_interrupted() -> None:
    flights: Flights[str] = Flights()
    begun, others_wait = threading.Event(), threading.Event()

    def interrupted() -> str:
        begun.set()
        others_wait.wait(5)
        raise KeyboardInterrupt

    leader = in_thread(lambda: flights.run("key", interrupted, None))
    begun.wait(5)
    follower = in_thread(lambda: flights.run("key", lambda: "answer", None))
    while flights.waiting < 2:
        pass
    others_wait.set()

    assert isinstance(leader(), KeyboardInterrupt)
    assert follower() == ("answer", False)


def test_nothing_is_left_of_a_call_that_has_ended() -> None:
    flights: Flights[str] = Flights()

    def fail() -> str:
        raise BadRequestError("wrong")

    assert flights.run("key", lambda: "first", None) == ("first", False)
    with pytest.raises(BadRequestError):
        flights.run("key", fail, None)
    assert flights.run("key", lambda: "second", None) == ("second", False)
    assert flights.waiting == 0


def test_calls_of_different_keys_do_not_wait_for_each_other() -> None:
    flights: Flights[str] = Flights()

    def outer() -> str:
        return flights.run("inner", lambda: "answer", None)[0]

    assert flights.run("outer", outer, None) == ("answer", False)


def in_thread(function: Callable[[], object]) -> Callable[[], object]:
    """Begins it; what comes back waits for its result or its exception."""
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(function())
        except (KeyboardInterrupt, APIError) as error:
            outcomes.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> object:
        thread.join(5)
        return outcomes[0]

    return result
