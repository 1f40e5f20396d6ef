"""Notices that vLLM's engine process is gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

T = TypeVar("T")

# How often vLLM is asked; it learns it at once from the process's sentinel.
_POLL_SECONDS = 0.1


async def died(llm: AsyncLLM) -> None:
    """Return when the engine process is gone."""
    while not llm.errored:  # noqa: ASYNC110 - vLLM offers a flag and no event
        await asyncio.sleep(_POLL_SECONDS)


async def unless_dead(llm: AsyncLLM, asking: Coroutine[Any, Any, T]) -> T:
    """What `asking` asks of the engine process, which vLLM would wait for for ever if the process dies meanwhile.

    Raises EngineDeadError.
    """
    asked, death = asyncio.create_task(asking), asyncio.create_task(died(llm))
    try:
        await asyncio.wait([asked, death], return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise EngineDeadError
        return await asked
    finally:
        asked.cancel()
        death.cancel()
