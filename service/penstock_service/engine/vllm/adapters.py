"""Adapters in vLLM: a LoRARequest for each that is loaded.

vLLM finds cached prefixes by an adapter's name (0.26) or name and path (0.32), and weights by its number, and reads the
files anew when it no longer has them. So names and numbers are never used twice: what one version computed never
serves another one, nor a later one of the same name.
"""

import contextlib
import itertools
import re
from pathlib import Path

import structlog
from vllm.lora.request import LoRARequest
from vllm.v1.engine.async_llm import AsyncLLM

from penstock_service.engine.vllm.control_calls import ControlCalls
from penstock_service.errors import AdapterRefused, Unavailable

log = structlog.get_logger()

# The numbers before it are vLLM's own: of its warm-up and of --default-mm-loras.
_FIRST_NUMBER = 1_000
_MOST_REFUSAL_CHARACTERS = 256
# Around the reason itself: of the engine process, and of its worker.
_WRAPPING = re.compile(r"Call to \w+ method failed: |Worker failed with error '|', please check the stack trace.*")
_PATH = re.compile(r"\S*/\S*")


class Adapters:
    """What the engine process has loaded, by NAME@VERSION."""

    def __init__(self, llm: AsyncLLM, calls: ControlCalls) -> None:
        self._llm = llm
        self._calls = calls
        self._numbers = itertools.count(_FIRST_NUMBER)
        self._requests: dict[str, LoRARequest] = {}
        config = llm.vllm_config.lora_config
        # More than it keeps in memory it would read from disk in the middle of a step.
        self.most: int = 0 if config is None else config.max_cpu_loras or config.max_loras

    async def load(self, key: str, directory: Path) -> None:
        """See Engine.load_adapter."""
        number = next(self._numbers)
        request = LoRARequest(f"{key}#{number}", number, str(directory))
        try:
            taken = await self._calls.ask(self._llm.add_lora(request))
        except Unavailable:
            raise
        except Exception as error:
            log.warning("vLLM does not take an adapter", adapter=key, error=str(error))
            with contextlib.suppress(Exception):  # an adapter that fails late has a place already
                await self._calls.ask(self._llm.remove_lora(number))
            raise AdapterRefused(key, _sentence(error)) from error
        if not taken:
            raise AdapterRefused(key, "the engine does not take it")
        self._requests[key] = request

    async def unload(self, key: str) -> None:
        """See Engine.unload_adapter."""
        request = self._requests.pop(key)
        await self._calls.ask(self._llm.remove_lora(request.lora_int_id))

    def request(self, key: str | None) -> LoRARequest | None:
        """What vLLM is given with a request that uses the adapter; None for the model itself."""
        return None if key is None else self._requests[key]


def _sentence(error: Exception) -> str:
    """vLLM's reason, which names ranks and layers that do not fit; without the paths in it."""
    reason = _PATH.sub("...", _WRAPPING.sub("", str(error)))
    return reason[:_MOST_REFUSAL_CHARACTERS]
