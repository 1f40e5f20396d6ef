"""What keeps the engine's processes out of signals that are not for them, and from outliving their service.

A signal to the process group (a terminal's Ctrl-C, some containers' SIGTERM) reaches every process of it, and vLLM's
engine ends all requests on SIGTERM, also those that the service is draining. So the engine leads a session of its own,
with its workers in it. A process in its own session survives a service that is killed; so the kernel is asked to kill
it when its parent's end of the pipe between them closes, which needs nothing of a process that hangs or is stopped.
PR_SET_PDEATHSIG would not do: it waits for the thread that has started the engine, which ends long before.

Declared as a plugin of vLLM (service/pyproject.toml), which loads it first thing in the engine and in each worker.
"""

import contextlib
import faulthandler
import fcntl
import multiprocessing
import os
import signal
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


def register() -> None:
    """Guard this process if it is an engine of ours or a worker of one."""
    parent = multiprocessing.parent_process()
    owner = os.environ.get(_OWNER)
    if parent is None or owner is None:
        return
    if parent.pid == int(owner) and os.getsid(0) != os.getpid():
        os.setsid()
    _hear_terminations()
    faulthandler.register(signal.SIGUSR1)  # all threads, to stderr; see processes.kill
    _end_with(parent)


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
