"""What keeps the engine's processes out of signals that are not for them, and from outliving their service.

A signal to the process group (a terminal's Ctrl-C, some containers' SIGTERM) reaches every process of it, and vLLM's
engine ends all requests on SIGTERM, also those that the service is draining. So the engine leads a process group of its
own, with its workers in it. Not a session: Linux schedules sessions against each other (sched_autogroup), and an engine
that spins with sched_yield in one of its own, as vLLM's does, left the service without a core for seconds (6.18).

A process in its own group survives a service that is killed; so the kernel is asked to kill it when its parent's end of
the pipe between them closes, which needs nothing of a process that hangs or is stopped. PR_SET_PDEATHSIG would not do:
it waits for the thread that has started the engine, which ends long before.

Declared as a plugin of vLLM (service/pyproject.toml). The engine loads it when its service has told it what to load,
and each worker once it has imported vLLM. Until then a thread watches, which a module of ours starts: `multiprocessing`
runs the `__main__` of the parent in a spawned process first, unless it is a package's, as that of `python -m
penstock_service` (3.8 to 3.14, spawn._fixup_main_from_name), so the module stands in for it.
"""

import contextlib
import faulthandler
import fcntl
import importlib.util
import multiprocessing
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess

_OWNER = "PENSTOCK_ENGINE_OWNER"
_RUN_FIRST = "penstock_service.engine.vllm.spawned"


@contextlib.contextmanager
def guarded_children() -> Iterator[None]:
    """Have the engine that is started in the block guarded; others on this machine are let alone."""
    program = sys.modules["__main__"]
    own = program.__spec__
    os.environ[_OWNER] = str(os.getpid())
    program.__spec__ = importlib.util.find_spec(_RUN_FIRST)
    try:
        yield
    finally:
        program.__spec__ = own
        del os.environ[_OWNER]


def end_with_service() -> None:
    """End this process with its service if it becomes an engine of ours or a worker of one, as soon as it is spawned.

    An engine whose service is gone when it asks what to load would ask for minutes, and a worker imports vLLM first.
    """
    owner = os.environ.get(_OWNER)
    if owner is None:
        return
    try:
        service = os.pidfd_open(int(owner))
    except ProcessLookupError:  # it was gone before it could be watched
        os._exit(1)
    threading.Thread(target=_end_after, args=(service,), name="service", daemon=True).start()


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


def _end_after(service: int) -> None:
    select.select([service], [], [])
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
