"""Keeps the terminal's Ctrl-C from the engine's processes."""

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker


@contextlib.contextmanager
def children_ignore_interrupts(*others: signal.Signals) -> Iterator[None]:
    """Let processes that this thread starts inherit a mask with SIGINT and `others` blocked.

    Ctrl-C reaches every process of the terminal; an engine that obeyed it would cut the answers that we are draining.
    """
    # Started later, by the first child, it would unblock SIGINT in this thread (CPython's resource_tracker does so).
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, *others])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
