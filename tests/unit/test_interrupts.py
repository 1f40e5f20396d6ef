"""Ctrl-C in the terminal must not reach the engine's processes: they serve what is being drained."""

import multiprocessing
import signal
import threading
from multiprocessing.connection import Connection

from penstock_service.engine.vllm.interrupts import children_ignore_interrupts


def _tell_blocked(answer: Connection) -> None:
    answer.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))


def _child_ignores_interrupts() -> bool:
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_tell_blocked, args=(there,))
    child.start()
    blocked = here.recv()
    child.join()
    return bool(blocked)


def _started_in_a_thread(seen: list[bool]) -> None:
    with children_ignore_interrupts():
        seen.append(_child_ignores_interrupts())
    seen.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))


def test_children_of_the_loading_thread_have_sigint_blocked_and_we_do_not() -> None:
    seen: list[bool] = []
    thread = threading.Thread(target=_started_in_a_thread, args=(seen,))

    thread.start()
    thread.join()

    assert seen == [True, False]
