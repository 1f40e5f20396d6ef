"""`client.tasks`: the unfinished streams of a client's state file."""

from __future__ import annotations

import builtins
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from penstock.errors import NotFoundError
from penstock.tasks import rows
from penstock.tasks.recorder import TaskRecorder
from penstock.tasks.unfinished import cancellation, found, interrupted, resume_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from penstock.call_options import CallOptions
    from penstock.stream import Stream
    from penstock.tasks.store import Store
    from penstock.tasks.task import Task
    from penstock.transport import Transport


class Tasks:
    """The unfinished streams of this process, and of others that have or had the same state file.

    Each call can raise StateFileError, and ValueError for an id that the file does not have.
    """

    def __init__(self, store: Store, transport: Transport) -> None:
        self._store = store
        self._transport = transport

    def list(self) -> builtins.list[Task]:
        """All of them, the oldest first."""
        return self._store.run(rows.everything).result()

    def get(self, id: str) -> Task:
        """The one of that id."""
        return found(self._store.run(partial(rows.one, task_id=id)).result(), id)

    def resume(self, id: str, **options: Unpack[CallOptions]) -> Stream:
        """Go on with an interrupted one: a stream whose text begins with the kept part, and which gives what follows.

        One without a chunk is begun anew. The limits are those of a call that begins now, of the task's tier unless
        the options name another. ValueError if a stream of a process that runs reads it.
        """
        task = interrupted(found(self._store.run(partial(rows.claim, task_id=id)).result(), id))
        try:
            terms = self._transport.terms(**resume_options(task, options))
            return self._transport.resume_task(task, terms, TaskRecorder.of_claimed(self._store, task))
        except BaseException:
            self._store.run(partial(rows.interrupt, task_id=id, error=task.error))
            raise

    def cancel(self, id: str, **options: Unpack[CallOptions]) -> None:
        """End its generation, if its server still has it, and forget it. Raises what other calls raise."""
        request, endpoint = cancellation(self.get(id))
        with contextlib.suppress(NotFoundError):
            self._transport.cancel_generation(request, self._transport.terms(**options), endpoint)
        self._store.run(partial(rows.delete, task_id=id)).result()

    def forget(self, id: str) -> None:
        """Keep it no more. Its generation goes on until its server gives it up."""
        if not self._store.run(partial(rows.delete, task_id=id)).result():
            found(None, id)

    def clear(self) -> None:
        """Forget all that no stream reads."""
        for task in self.list():
            if task.state == "interrupted":
                self._store.run(partial(rows.delete, task_id=task.id)).result()
