"""Hooks on what happens in a client."""

import logging
import threading

import grpc
import pytest

from penstock.errors import APIConnectionError
from penstock.events import EVENTS, CallStarted, EndpointRestored, FirstOutput, Retried
from penstock.hooks import Observers

CALL = CallStarted("StreamGenerate", "tiny", "chat")


def retried(attempt: int = 2) -> Retried:
    return Retried(CALL, attempt, 0.1, APIConnectionError("gone"), "a:1")


def test_a_hook_hears_the_events_of_its_name_and_no_others() -> None:
    observers, heard = Observers(), []
    observers.on("retry", heard.append)

    event = retried()
    observers.emit(event)
    observers.emit(EndpointRestored("a:1"))

    assert heard == [event]
    assert event.error.status is grpc.StatusCode.UNAVAILABLE
    assert event.call.model == "tiny"


def test_hooks_are_called_in_the_order_in_which_they_came() -> None:
    observers, heard = Observers(), []
    observers.on("retry", lambda event: heard.append(1))
    observers.on("retry", lambda event: heard.append(2))

    observers.emit(retried())

    assert heard == [1, 2]


def test_off_ends_it_and_may_come_again() -> None:
    observers, heard = Observers(), []
    observers.on("first_output", heard.append)
    observers.off("first_output", heard.append)
    observers.off("first_output", heard.append)

    observers.emit(FirstOutput(CALL, 0.1))

    assert heard == []
    assert not observers.heard(FirstOutput)


def test_a_hook_that_raises_is_logged_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    observers, heard = Observers(), []

    def broken(event: Retried) -> None:
        raise ZeroDivisionError("a hook of mine")

    observers.on("retry", broken)
    observers.on("retry", heard.append)

    with caplog.at_level(logging.ERROR, "penstock"):
        observers.emit(retried())

    assert len(heard) == 1
    assert "a hook of mine" in caplog.text
    assert "'retry'" in caplog.text


def test_events_that_nobody_hears_need_not_be_made() -> None:
    observers = Observers()

    assert not observers.heard(FirstOutput)
    observers.on("first_output", print)
    assert observers.heard(FirstOutput)


def test_a_hook_may_remove_itself_while_it_is_called() -> None:
    observers, heard = Observers(), []

    def once(event: Retried) -> None:
        heard.append(event)
        observers.off("retry", once)

    observers.on("retry", once)
    observers.emit(retried())
    observers.emit(retried(3))

    assert [event.attempt for event in heard] == [2]


def test_hooks_added_by_many_threads_at_once_are_all_there() -> None:
    observers, heard = Observers(), []
    threads = [threading.Thread(target=observers.on, args=("retry", heard.append)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    observers.emit(retried())

    assert len(heard) == 50


@pytest.mark.parametrize("name", ["", "retries", "Retried"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"event is .*; there are start, .*cache_hit"):
        Observers().on(name, print)


def test_a_coroutine_function_is_refused_since_nobody_would_await_it() -> None:
    async def hook(event: Retried) -> None: ...

    with pytest.raises(TypeError, match="hook must be a function"):
        Observers().on("retry", hook)


def test_every_kind_of_event_says_what_it_is_called() -> None:
    for name, kind in EVENTS.items():
        assert (kind.__doc__ or "").startswith(f' "{name}": ')


def test_the_repr_of_an_event_has_no_text_of_the_caller() -> None:
    assert "request" not in repr(CALL)


def test_a_callers_own_trace_context_is_left_alone() -> None:
    observers = Observers()
    observers.trace_headers = lambda call: (("traceparent", "ours"),)

    assert observers.traced(CALL, ()) == (("traceparent", "ours"),)
    assert observers.traced(CALL, (("traceparent", "theirs"),)) == (("traceparent", "theirs"),)


def test_tracing_that_fails_does_not_hurt_the_call() -> None:
    def broken(call: CallStarted) -> tuple[tuple[str, str], ...]:
        raise ZeroDivisionError

    observers = Observers()
    observers.trace_headers = broken

    assert observers.traced(CALL, (("a", "b"),)) == (("a", "b"),)
