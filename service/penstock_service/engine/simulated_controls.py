"""What an operator can ask of the simulated engine."""

from penstock_service.errors import FeatureOff


class SimulatedControls:
    """It sleeps and wakes at once, for it holds nothing; it has no cache of prefixes and no profiler."""

    def check_sleep(self) -> None:
        """See Controls.check_sleep. It can."""

    async def sleep(self) -> None:
        """See Controls.sleep. There is nothing to free."""

    async def wake(self) -> None:
        """See Controls.wake."""

    async def reset_prefix_cache(self, preempt_running: bool) -> bool:
        """See Controls.reset_prefix_cache. It caches nothing."""
        return True

    async def start_profile(self) -> None:
        """See Controls.start_profile."""
        raise FeatureOff("the simulated engine has no profiler")

    async def stop_profile(self) -> None:
        """See Controls.stop_profile."""
        raise FeatureOff("the simulated engine has no profiler")
