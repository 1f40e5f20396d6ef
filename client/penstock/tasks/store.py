"""Reads and writes a state file in a thread of its own: no caller waits for a disk, the event loop least of all."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.arguments import ArgumentTypeError
from penstock.tasks import StateFileError, rows
from penstock.tasks.recorder import TaskRecorder
from penstock.tasks.state_file import BUSY_SECONDS, open_state_file

if TYPE_CHECKING:
    from penstock.terms import Terms
    from penstock.v1.generation_pb2 import GenerateRequest

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]
_Job = tuple["Work[Any] | None", "Future[Any]"]

# Interrupted tasks that nobody resumed go after this time, so that the file cannot grow for ever.
KEEP_SECONDS = 7 * 24 * 3600.0


class Store:
    """A state file. Threads and processes may share it; after a fork each process opens it for itself.

    path: the file, made if there is none; its directory must be there. Raises StateFileError, or TypeError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ArgumentTypeError("state", "a path", path)
        self.path = Path(os.path.abspath(path))
        self._writer: _Writer | None = None
        self.run(lambda connection: rows.delete_older(connection, time.time() - KEEP_SECONDS)).result()

    def begin(self, request: GenerateRequest, idempotency_key: str, terms: Terms) -> TaskRecorder:
        """Keep a stream that begins now, by what its reader tells the recorder."""
        return TaskRecorder.of_new(self, request, idempotency_key, terms.tier, terms.left(time.monotonic()))

    def run(self, work: Work[T]) -> Future[T]:
        """Do the work after all that was asked before. Its result can be StateFileError.

        Never waits, and may be called by collectors of garbage.
        """
        if self._writer is None or self._writer.pid != os.getpid():
            self._writer = _Writer(self.path)
            weakref.finalize(self, _leave, weakref.ref(self), self._writer)  # at the end of the process, too
        return self._writer.run(work)

    def close(self) -> None:
        """Write what is left and close the file; later work opens it again. Idempotent."""
        if self._writer is not None and self._writer.pid == os.getpid():
            self._writer.run(None).result()


class _Writer:
    """The one thread that has the file open."""

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        # Not an executor's, whose locks a stream collected as garbage would meet in the thread that holds them.
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=_write, args=(path, self._jobs), name="penstock-state", daemon=True)
        self._thread.start()

    def run(self, work: Work[T] | None) -> Future[T]:
        """None closes the file."""
        done: Future[T] = Future()
        self._jobs.put((work, done))
        return done

    def end(self) -> None:
        self._jobs.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(BUSY_SECONDS)

    def close(self) -> None:
        """Write what is left and close the file, but stay."""
        if self.pid == os.getpid():
            wait([self.run(None)], BUSY_SECONDS)


def _leave(store: weakref.ref[Store], writer: _Writer) -> None:
    """Nobody uses the store any more. At the end of the process exit handlers that run later still may."""
    if store() is None:
        writer.end()
    else:
        writer.close()


def _write(path: Path, jobs: SimpleQueue[_Job | None]) -> None:
    connection: sqlite3.Connection | None = None
    while (job := jobs.get()) is not None:
        work, done = job
        if not done.set_running_or_notify_cancel():
            continue
        try:
            if work is not None:
                connection = connection or open_state_file(path)
                done.set_result(work(connection))
                continue
            _close(connection)
            connection = None
            done.set_result(None)
        except sqlite3.Error as error:
            done.set_exception(StateFileError(f"the state file {path} cannot be used: {error}"))
        except Exception as error:
            done.set_exception(error)
    _close(connection)


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()
