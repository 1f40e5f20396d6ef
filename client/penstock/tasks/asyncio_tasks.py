"""`client.tasks` for asyncio: the unfinished streams of a client's state file."""

from __future__ import annotations

import asyncio
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

    from penstock.aio_transport import AsyncTransport
    from penstock.call_options import CallOptions
    from penstock.stream import AsyncStream
    from penstock.tasks.store import Store
    from penstock.tasks.task import Task


class AsyncTasks:
    """The unfinished streams of this process, and of others that have or had the same state file.

    Each call can raise StateFileError, and ValueError for an id that the file does not have.
    """

    def __init__(self, store: Store, transport: AsyncTransport) -> None:
        self._store = store
        self._transport = transport

    async def list(self) -> builtins.list[Task]:
        """All of them, the oldest first."""
        return await asyncio.wrap_future(self._store.run(rows.everything))

    async def get(self, id: str) -> Task:
        """The one of that id."""
        return found(await asyncio.wrap_future(self._store.run(partial(rows.one, task_id=id))), id)

    async def resume(self, id: str, **options: Unpack[CallOptions]) -> AsyncStream:
        """Go on with an interrupted one: a stream whose text begins with the kept part, and which gives what follows.

        One without a chunk is begun anew. The limits are those of a call that begins now, of the task's tier unless
        the options name another. ValueError if a stream of a process that runs reads it.
        """
        task = interrupted(found(await asyncio.wrap_future(self._store.run(partial(rows.claim, task_id=id))), id))
        try:
            terms = self._transport.terms(**resume_options(task, options))
            return self._transport.resume_task(task, terms, TaskRecorder.of_claimed(self._store, task))
        except BaseException:
            self._store.run(partial(rows.interrupt, task_id=id, error=task.error))
            raise

    async def cancel(self, id: str, **options: Unpack[CallOptions]) -> None:
        """End its generation, if its server still has it, and forget it. Raises what other calls raise."""
        request, endpoint = cancellation(await self.get(id))
        with contextlib.suppress(NotFoundError):
            await self._transport.cancel_generation(request, self._transport.terms(**options), endpoint)
        await asyncio.wrap_future(self._store.run(partial(rows.delete, task_id=id)))

    async def forget(self, id: str) -> None:
        """Keep it no more. Its generation goes on until its server gives it up."""
        if not await asyncio.wrap_future(self._store.run(partial(rows.delete, task_id=id))):
            found(None, id)

    async def clear(self) -> None:
        """Forget all that no stream reads."""
        for task in await self.list():
            if task.state == "interrupted":
                await asyncio.wrap_future(self._store.run(partial(rows.delete, task_id=task.id)))
