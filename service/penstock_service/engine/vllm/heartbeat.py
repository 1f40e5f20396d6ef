"""Counts the engine's steps in what it tells of them anyway.

With statistics, which vLLM takes by default, the scheduler sends its own after every step, also after one without
output as in a long prefill (v1/core/sched/scheduler.py, update_from_output), and AsyncLLM hands them to its loggers.
Without (--disable-log-stats) such a step tells nothing, and only those with output count. Of several data-parallel
engines the steps of all count together: that one of them hangs shows once the others have nothing to do.
"""

from typing import Any

from vllm.config import VllmConfig
from vllm.v1.engine.output_processor import OutputProcessor
from vllm.v1.metrics.loggers import StatLoggerBase


class Heartbeat(StatLoggerBase):
    """A logger of vLLM's that only counts: one for all engines of an AsyncLLM, beside vLLM's own loggers."""

    def __init__(self) -> None:
        self.steps = 0

    def of_engine(self, vllm_config: VllmConfig, engine_index: int = 0) -> "Heartbeat":
        """What AsyncLLM calls to have a logger for each engine."""
        return self

    def record(self, *_: object, **__: object) -> None:
        """Called for each message of the engine that has outputs or statistics."""
        self.steps += 1

    def log_engine_initialized(self) -> None:
        """Nothing to say."""

    def count_outputs(self, processor: OutputProcessor) -> None:
        """Count what the engine puts out, for an AsyncLLM that takes no statistics."""
        process: Any = processor.process_outputs

        def counted(*arguments: object, **named: object) -> object:
            self.steps += 1
            return process(*arguments, **named)

        processor.process_outputs = counted  # type: ignore[method-assign, assignment]
