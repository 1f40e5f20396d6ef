"""What the engine process is asked beside generating: counted, and given up when it dies or takes for ever."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from penstock_service.engine.vllm.death import unless_dead
from penstock_service.errors import Unavailable

T = TypeVar("T")

# Writing a profile or moving the weights of a large model takes minutes.
MOST_SECONDS = 600.0


class ControlCalls:
    """The control calls to one AsyncLLM."""

    def __init__(self, llm: AsyncLLM) -> None:
        self.running = 0  # in the engine process, which may make no steps meanwhile
        self._llm = llm

    async def ask(self, asking: Coroutine[Any, Any, T]) -> T:
        """What `asking` asks. The engine goes on with it when the caller is cancelled.

        Raises Unavailable when the engine dies or does not answer, and what `asking` raises.
        """
        return await asyncio.shield(asyncio.create_task(self._asked(asking)))

    async def _asked(self, asking: Coroutine[Any, Any, T]) -> T:
        self.running += 1
        try:
            async with asyncio.timeout(MOST_SECONDS):
                return await unless_dead(self._llm, asking)
        except EngineDeadError as error:
            raise Unavailable("ENGINE_DEAD") from error
        except TimeoutError as error:
            raise Unavailable("ENGINE_STALLED") from error
        finally:
            self.running -= 1
