"""What an operator asks of vLLM's engine beside generating: sleep, forgotten caches, profiles."""

from vllm.v1.engine.async_llm import AsyncLLM

from penstock_service.engine.vllm.control_calls import ControlCalls
from penstock_service.errors import FeatureOff

# The weights stay, in the host's memory. At level 2 they would have to be loaded again.
_SLEEP_LEVEL = 1


class Controls:
    """The controls of one AsyncLLM."""

    def __init__(self, llm: AsyncLLM, calls: ControlCalls) -> None:
        self._llm = llm
        self._calls = calls
        self._profiled = False

    def check_sleep(self) -> None:
        """See Controls.check_sleep. vLLM itself starts with the setting only where there is a GPU that can do it."""
        if not self._llm.model_config.enable_sleep_mode:
            raise FeatureOff("the engine cannot sleep: it was started without --enable-sleep-mode, which needs a GPU")

    async def sleep(self) -> None:
        """See Controls.sleep."""
        await self._calls.ask(self._llm.sleep(_SLEEP_LEVEL))

    async def wake(self) -> None:
        """See Controls.wake."""
        await self._calls.ask(self._llm.wake_up())

    async def reset_prefix_cache(self, preempt_running: bool) -> bool:
        """See Controls.reset_prefix_cache."""
        resetting = self._llm.reset_prefix_cache(reset_running_requests=preempt_running)
        return bool(await self._calls.ask(resetting))

    async def start_profile(self) -> None:
        """See Controls.start_profile."""
        self._check_profiler()
        if not self._profiled:
            await self._calls.ask(self._start_profile())

    async def stop_profile(self) -> None:
        """See Controls.stop_profile."""
        self._check_profiler()
        if self._profiled:
            await self._calls.ask(self._stop_profile())

    async def _start_profile(self) -> None:
        await self._llm.start_profile()
        self._profiled = True

    async def _stop_profile(self) -> None:
        await self._llm.stop_profile()
        self._profiled = False

    def _check_profiler(self) -> None:
        if self._llm.vllm_config.profiler_config.profiler is None:
            raise FeatureOff("the engine was started without a profiler; vLLM's --profiler-config names one")
