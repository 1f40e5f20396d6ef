"""Who looks after waiting readers goes on doing so, whatever happens to a thread or to one of them."""

import threading

import pytest

from penstock.resilience.watch import Watch
from penstock.resilience.watchdog import Watchdog


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_thread_that_could_not_be_started_is_started_for_the_next_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    watchdog, expired = Watchdog(), threading.Event()
    late = Watch(None)
    late.begin(lambda: None, 3600)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            watchdog.look_after(late)

    watchdog.call(expired.set)

    assert expired.wait(20)


def test_a_reader_that_cannot_be_looked_after_is_logged_and_costs_the_others_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watchdog, expired = Watchdog(), threading.Event()

    def fail() -> None:
        raise ZeroDivisionError

    watchdog.call(fail)
    watchdog.call(expired.set)

    assert expired.wait(20)
    assert "ZeroDivisionError" in caplog.text
