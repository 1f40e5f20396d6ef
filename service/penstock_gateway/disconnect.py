"""Ends work for a caller who hung up. Starlette does this for none of its handlers' awaits, and for streams only."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from starlette.types import Receive

T = TypeVar("T")


class CallerGoneError(Exception):
    """The caller closed the connection before the answer was complete."""


async def unless_gone(receive: Receive, work: Coroutine[None, None, T]) -> T:
    """Return what `work` returns; if the caller hangs up first, cancel it, wait for its end and raise CallerGoneError.

    The request's body must have been read.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_hang_up(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerGoneError
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
