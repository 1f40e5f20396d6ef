"""What happens to requests that outlast the drain: they are told so, instead of being cut off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from penstock.errors import ServiceUnavailableError


class Drain:
    """The requests that run, for the moment when none may run any longer."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Interrupt the body at the drain's end, with ServiceUnavailableError."""
        limit = asyncio.timeout(None)
        self._limits.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise ServiceUnavailableError("this gateway is stopping; another one may serve the call") from None
        finally:
            self._limits.discard(limit)

    def end(self) -> None:
        """Interrupt what still runs."""
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            limit.reschedule(now)
