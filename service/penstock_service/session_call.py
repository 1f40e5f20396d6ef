"""One call of a session, as its generation and the session's writer see it."""

import asyncio
from typing import TYPE_CHECKING

from penstock.v1.generation_pb2 import SessionResponse
from penstock_service.reading import Readable

if TYPE_CHECKING:
    from penstock_service.session import Session


class SessionCall:
    """A Reader: one call of a session."""

    __slots__ = ("_cancelled", "_delivered", "_generation", "_number", "_session", "task")

    interrupted = False  # `interrupt` cancels no task: only the session's writer waits for the connection
    task: asyncio.Task[None]

    def __init__(self, session: "Session", number: int) -> None:
        self._session = session
        self._number = number
        self._generation: Readable | None = None
        self._delivered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cancelled = False

    def opened(self, generation: Readable) -> None:
        """See Reader."""
        self._generation = generation

    def news(self) -> None:
        """See Reader."""
        self._session.has_news(self)

    def interrupt(self) -> None:
        """See Reader."""
        self._ended()

    async def delivered(self) -> None:
        """Wait until the writer has taken all of the generation."""
        if self._cancelled and self._generation is not None:
            self._generation.cancel()
        await self._delivered

    def cancel(self) -> None:
        """End the call for its caller."""
        self._cancelled = True
        if self._generation is not None:
            self._generation.cancel()

    def move(self, response: SessionResponse) -> int:
        """Move what the generation holds into the response; how many bytes of output that is."""
        generation = self._generation
        assert generation is not None  # noqa: S101 - it is the generation that has news
        size = generation.held_bytes
        if not generation.drained:
            entry = response.chunks.add()
            entry.call = self._number
            generation.take(entry.chunk)
        if generation.drained:
            self._ended()
        return size

    def _ended(self) -> None:
        if not self._delivered.done():
            self._delivered.set_result(None)
