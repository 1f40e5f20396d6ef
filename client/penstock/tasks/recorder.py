"""Keeps a stream in the state file while it is read."""

from __future__ import annotations

import logging
import sqlite3
import time
import uuid
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from penstock.errors import (
    APIConnectionError,
    InternalServerError,
    RateLimitError,
)
from penstock.tasks import rows
from penstock.v1.generation_pb2 import GenerateRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.resilience.resume_token import ResumePoint
    from penstock.tasks.store import Store
    from penstock.tasks.task import Task
    from penstock.v1.generation_pb2 import GenerateChunk

logger = logging.getLogger("penstock")

# Text that came after the last write is read again from the server, so writing seldom loses nothing.
WRITE_SECONDS = 0.5

# After these a task can be read on or started again; any other error would come again.
_PASSING = (APIConnectionError, InternalServerError, RateLimitError)


def is_unfinished(error: BaseException | None) -> bool:
    """Whether a stream that ended so is worth keeping. One that was left early is not: its generation has ended."""
    return isinstance(error, _PASSING)


class TaskRecorder:
    """Keeps one stream. Its methods are called by the stream's reader, and never wait for the disk."""

    def __init__(self, store: Store, task_id: str, next_seq: int, monotonic: Callable[[], float]) -> None:
        self.id = task_id
        self._store = store
        self._monotonic = monotonic
        self._first_seq = self._next_seq = next_seq
        self._chunks = bytearray()  # from first_seq on: all that is not known to be written
        self._placeless = bytearray()
        self._placeless_count = 0
        self._point: ResumePoint | None = None
        self._due = 0.0
        self._keeping: Future[object] | None = None  # the last write of chunks: up to this seq, so many bytes
        self._keeping_seq = self._keeping_size = 0

    @classmethod
    def of_new(
        cls,
        store: Store,
        request: GenerateRequest,
        idempotency_key: str,
        tier: str | None,
        seconds_left: float | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> TaskRecorder:
        """Begin to keep a generation that its server knows by that key. It may be used up in so many seconds."""
        kept = GenerateRequest()
        kept.CopyFrom(request)
        kept.idempotency_key = idempotency_key
        recorder = cls(store, uuid.uuid4().hex, 0, monotonic)
        created = time.time()
        deadline = None if seconds_left is None else created + seconds_left
        recorder._write(
            partial(
                rows.insert,
                task_id=recorder.id,
                request=kept.SerializeToString(),
                tier=tier,
                created=created,
                deadline=deadline,
            )
        )
        return recorder

    @classmethod
    def of_claimed(cls, store: Store, task: Task, monotonic: Callable[[], float] = time.monotonic) -> TaskRecorder:
        """Go on keeping one that this process has claimed."""
        return cls(store, task.id, task.next_seq, monotonic)

    def received(self, chunk: GenerateChunk, point: ResumePoint | None) -> None:
        """The reader gets its next chunk. `point` is where the stream can be read on from after it."""
        self._placeless += chunk.SerializeToString()
        self._placeless_count += 1
        if point is None:  # between two replicas: it is kept together with the next chunk that has a place
            return
        self._chunks += self._placeless
        self._next_seq += self._placeless_count
        self._placeless_count = 0
        self._placeless.clear()
        self._point = point
        if self._monotonic() >= self._due and (self._keeping is None or self._keeping.done()):
            self._keep_chunks()

    def ended(self, error: BaseException | None) -> None:
        """The stream is over. It is kept on only if it can be read on or started again."""
        if not is_unfinished(error):
            self._write(partial(rows.delete, task_id=self.id))
            return
        self._keep_chunks()
        self._write(partial(rows.interrupt, task_id=self.id, error=str(error)))

    def _keep_chunks(self) -> None:
        """Write them with those of an earlier write that failed, or has not ended: the rows are the same then."""
        self._drop_written()
        if not self._chunks:
            return
        self._keeping_seq, self._keeping_size = self._next_seq, len(self._chunks)
        self._keeping = self._write(
            partial(
                rows.append,
                task_id=self.id,
                first_seq=self._first_seq,
                next_seq=self._next_seq,
                chunks=bytes(self._chunks),
                token=self._point.token() if self._point is not None else "",
            )
        )
        self._due = self._monotonic() + WRITE_SECONDS

    def _drop_written(self) -> None:
        if self._keeping is None or not self._keeping.done() or self._keeping.exception() is not None:
            return
        self._first_seq = self._keeping_seq
        del self._chunks[: self._keeping_size]
        self._keeping = None

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> Future[object]:
        written = self._store.run(work)
        written.add_done_callback(self._log_failure)
        return written

    def _log_failure(self, written: Future[object]) -> None:
        """A file that fails does not end the stream."""
        error = None if written.cancelled() else written.exception()
        if error is not None:
            logger.error("task %s could not be kept: %s", self.id, error)
