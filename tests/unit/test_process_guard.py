"""The engine's processes stay out of signals that are not for them, and end with their service whatever they do."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from penstock_service.engine.vllm.interrupts import children_ignore_interrupts
from penstock_service.engine.vllm.process_guard import guarded_children, register

_SPAWN = multiprocessing.get_context("spawn")


def worker(tell: Connection) -> None:
    """What vLLM starts in the engine's process."""
    register()
    tell.send((os.getpid(), os.getpgid(0), os.getsid(0)))
    signal.pause()


def engine(tell: Connection) -> None:
    """What vLLM starts in the service's process."""
    register()
    _SPAWN.Process(target=worker, args=(tell,)).start()
    signal.pause()


def deaf_engine(tell: Connection) -> None:
    """One that waits for its service to say what to load."""
    tell.send(os.getpid())
    signal.pause()


STARTING = """
import signal, sys
from multiprocessing import get_context
from penstock_service.engine.vllm.process_guard import guarded_children
from tests.unit.test_process_guard import deaf_engine

if __name__ == "__main__":
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    with guarded_children():
        spawn.Process(target=deaf_engine, args=(theirs,)).start()
    print(ours.recv(), flush=True)
    signal.pause()
"""


def service(tell: Connection, guarded: bool) -> None:
    os.setsid()  # as from a terminal
    with children_ignore_interrupts(signal.SIGTERM), guarded_children() if guarded else contextlib.nullcontext():
        _SPAWN.Process(target=engine, args=(tell,)).start()
    signal.pause()


class Processes:
    """A service, its engine and its worker."""

    def __init__(self, guarded: bool) -> None:
        ours, theirs = _SPAWN.Pipe()
        self.service = _SPAWN.Process(target=service, args=(theirs, guarded))
        self.service.start()
        worker_pid, self.worker_group, self.worker_session = ours.recv()
        self.worker = psutil.Process(worker_pid)
        self.engine = psutil.Process(self.worker.ppid())

    def gone(self) -> list[psutil.Process]:
        """Those of engine and worker that end within ten seconds."""
        return psutil.wait_procs([self.engine, self.worker], timeout=10)[0]

    def end(self) -> None:
        for process in (self.engine, self.worker):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.service.kill()
        self.service.join()


@pytest.fixture
def start() -> Iterator[Callable[[bool], Processes]]:
    with contextlib.ExitStack() as stack:

        def started(guarded: bool) -> Processes:
            processes = Processes(guarded)
            stack.callback(processes.end)
            return processes

        yield started


def test_the_engine_has_a_process_group_with_its_worker_and_ends_when_its_service_is_killed(
    start: Callable[[bool], Processes],
) -> None:
    processes = start(True)
    groups = [os.getpgid(processes.engine.pid), processes.worker_group]

    processes.service.kill()

    assert groups == [processes.engine.pid] * 2
    assert len(processes.gone()) == 2


def test_linux_schedules_the_engine_and_its_service_together(start: Callable[[bool], Processes]) -> None:
    processes = start(True)

    assert os.getsid(processes.engine.pid) == processes.service.pid == processes.worker_session


def test_the_engine_ends_even_if_it_can_do_nothing(start: Callable[[bool], Processes]) -> None:
    processes = start(True)
    processes.engine.suspend()
    processes.worker.suspend()

    processes.service.kill()

    assert len(processes.gone()) == 2


def test_it_hears_sigterm_again_though_it_was_born_without(start: Callable[[bool], Processes]) -> None:
    processes = start(True)

    processes.engine.terminate()

    psutil.wait_procs([processes.worker], timeout=10)  # with its parent
    assert processes.engine.status() == psutil.STATUS_ZOMBIE


def test_an_engine_that_is_not_ours_is_let_alone(start: Callable[[bool], Processes]) -> None:
    processes = start(False)

    assert os.getpgid(processes.engine.pid) == processes.service.pid == processes.worker_group


def test_an_engine_that_has_not_been_told_what_to_load_ends_with_its_service(tmp_path: Path) -> None:
    program = tmp_path / "program" / "__main__.py"  # which `multiprocessing` does not run in what is spawned
    program.parent.mkdir()
    program.write_text(STARTING)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    command = [sys.executable, "-m", "program"]
    starting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert starting.stdout is not None
    with starting, starting.stdout as said:
        engine = psutil.Process(int(said.readline()))

        starting.kill()

        assert psutil.wait_procs([engine], timeout=10)[0] == [engine]
