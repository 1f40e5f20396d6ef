"""How long a new generation would wait for its first step. Pure: it is told what ends and what runs."""

from penstock.v1.generation_pb2 import Timings, Usage
from penstock_service.moving_mean import MovingLine, MovingMean

# Prompts that differ by fewer tokens do not tell how fast prompts are read.
_LEAST_SPREAD = 16


class WaitEstimator:
    """What the last generations took of the engine, and what follows from it for the next ones."""

    def __init__(self) -> None:
        self._held_ms = MovingMean()  # a place, from the first step to the last token
        self._completion_tokens = MovingMean()
        # From the first step to the first token, by tokens of the prompt: which of a new one are cached nobody knows.
        self._prefill_ms = MovingLine(_LEAST_SPREAD)

    def ended(self, timings: Timings | None, usage: Usage | None = None, sequences: int = 1) -> None:
        """Learn from a generation that has ended, whole or not. One that never had a token tells nothing."""
        if timings is None or not timings.HasField("generation_time_ms"):
            return
        self.held(timings.generation_time_ms - timings.queue_time_ms)
        if usage is None:
            return
        self._completion_tokens.add(usage.completion_tokens / sequences)
        if timings.HasField("time_to_first_token_ms"):
            self._prefill_ms.add(usage.prompt_tokens, timings.time_to_first_token_ms - timings.queue_time_ms)

    def held(self, milliseconds: float) -> None:
        """Learn for how long a place was held."""
        self._held_ms.add(milliseconds)

    @property
    def completion_tokens(self) -> float | None:
        """How many a sequence has; None while nothing has ended yet."""
        return self._completion_tokens.value

    def between_ends_ms(self, places: int) -> float | None:
        """The time from one end to the next while all places are taken (Little's law); None while nothing has ended."""
        held = self._held_ms.value
        return None if held is None else held / places

    def wait_ms(self, running: int, places: int) -> float | None:
        """The wait while `running` generations are in an engine that runs `places` of them at a time, the rest waiting.

        0 while a place is free; None while one is needed and nothing has ended yet.
        """
        if running < places:
            return 0.0
        between = self.between_ends_ms(places)
        return None if between is None else (running - places + 1) * between

    def first_token_ms(self, running: int, places: int, prompt_tokens: int) -> float | None:
        """`wait_ms`, and the time to read a prompt after it; None while nothing has ended yet."""
        wait, read = self.wait_ms(running, places), self._prefill_ms.at(prompt_tokens)
        return None if wait is None or read is None else wait + read
