"""How long a new generation would wait for its first step. Pure: it is told what ends and what runs."""

from penstock.v1.generation_pb2 import Timings

# Of the newest generation against the mean of those before, as TCP weighs round trips (RFC 6298): the last twenty or so
# count, and one odd generation moves the mean little.
_WEIGHT = 1 / 8


class WaitEstimator:
    """The mean time that the last generations held their places in the engine, and what follows from it."""

    def __init__(self) -> None:
        self._held_ms: float | None = None
        self._read_ms: float | None = None  # from the first step to the first token

    def ended(self, timings: Timings | None) -> None:
        """Learn from a generation that has ended, whole or not. One that never had a token tells nothing."""
        if timings is None or not timings.HasField("generation_time_ms"):
            return
        self._held_ms = _moved(self._held_ms, timings.generation_time_ms - timings.queue_time_ms)
        if timings.HasField("time_to_first_token_ms"):
            self._read_ms = _moved(self._read_ms, timings.time_to_first_token_ms - timings.queue_time_ms)

    def wait_ms(self, running: int, places: int) -> float | None:
        """The wait while `running` generations are in an engine that runs `places` of them at a time, the rest waiting.

        0 while a place is free; None while one is needed and nothing has ended yet.
        """
        if running < places:
            return 0.0
        if self._held_ms is None:
            return None
        ends_per_ms = places / self._held_ms if self._held_ms else float("inf")  # Little's law, all places taken
        return (running - places + 1) / ends_per_ms

    def first_token_ms(self, running: int, places: int) -> float | None:
        """`wait_ms`, and the time to the first token after it; None while nothing has ended yet."""
        wait = self.wait_ms(running, places)
        return None if wait is None or self._read_ms is None else wait + self._read_ms


def _moved(mean: float | None, newest: float) -> float:
    newest = max(newest, 0.0)
    return newest if mean is None else mean + _WEIGHT * (newest - mean)
