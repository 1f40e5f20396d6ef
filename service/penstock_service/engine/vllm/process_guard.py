"""What keeps the engine's processes out of signals that are not for them, and from outliving their service.

A signal to the process group (a terminal's Ctrl-C, some containers' SIGTERM) reaches every process of it, and vLLM's
engine ends all requests on SIGTERM, also those that the service is draining. So the engine leads a process group of its
own, with its workers in it. Not a session: Linux schedules sessions against each other (sched_autogroup), and an engine
that spins with sched_yield in one of its own, as vLLM's does, left the service without a core for seconds (6.18).

A process in its own group survives a service that is killed; so the kernel is asked to kill it when its parent's end of
the pipe between them closes, which needs nothing of a process that hangs or is stopped. PR_SET_PDEATHSIG would not do:
it waits for the thread that has started the engine, which ends long before.

Declared as a plugin of vLLM (service/pyproject.toml). The engine loads it when its service has told it what to load,
and each worker first thing. Until then a thread watches, which starts where the program is imported for the child.
"""

import contextlib
import faulthandler
import fcntl
import multiprocessing
import os
import select
import signal
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess

_OWNER = "PENSTOCK_ENGINE_OWNER"


@contextlib.contextmanager
def guarded_children() -> Iterator[None]:
    """Have the engine that is started in the block guarded; others on this machine are let alone."""
    os.environ[_OWNER] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[_OWNER]


def end_with_service() -> None:
    """End this process with its parent if it becomes an engine of ours, from the moment that it is spawned.

    An engine whose service is gone when it asks what to load would ask for minutes.
    """
    parent = os.getppid()
    if os.environ.get(_OWNER) != str(parent):
        return
    with contextlib.suppress(ProcessLookupError):
        threading.Thread(target=_end_after, args=(os.pidfd_open(parent),), name="service", daemon=True).start()
    if os.getppid() != parent:  # before it could be watched
        os._exit(1)


def register() -> None:
    """Guard this process if it is an engine of ours or a worker of one."""
    parent = multiprocessing.parent_process()
    owner = os.environ.get(_OWNER)
    if parent is None or owner is None:
        return
    if parent.pid == int(owner):
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # or its log would stop it on a terminal with `stty tostop`
        os.setpgid(0, 0)
    _hear_terminations()
    faulthandler.register(signal.SIGUSR1)  # all threads, to stderr; see processes.kill
    _end_with(parent)


def _end_after(parent: int) -> None:
    select.select([parent], [], [])
    os._exit(1)


def _hear_terminations() -> None:
    """Unblock SIGTERM, by which vLLM ends it, and forget one that was sent to the group it was born in."""
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    signal.signal(signal.SIGTERM, handler)


def _end_with(parent: BaseProcess) -> None:
    """Have the kernel kill this process as soon as its parent is gone."""
    pipe = parent.sentinel
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if os.getppid() != parent.pid:  # it is gone already, and the pipe tells no more
        os._exit(1)
