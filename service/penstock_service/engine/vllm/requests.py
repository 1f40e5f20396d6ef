"""What both ways of running a request in vLLM have in common."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from vllm.sampling_params import SamplingParams

from penstock_service.engine.base import Ending, Job, Receiver


class Prepared(NamedTuple):
    """A job in vLLM's terms."""

    prompt: Any  # vLLM's EngineInput, with the tokens
    params: SamplingParams
    trace_headers: Mapping[str, str] | None  # None unless vLLM traces
    asked_tokens: int | None  # by the caller or the model's generation_config; None for all that fit


class Requests(Protocol):
    """Runs prepared jobs in an AsyncLLM and delivers what comes of them."""

    async def add(self, job: Job, prepared: Prepared, receiver: Receiver) -> None:
        """Hand a job to the engine. Raises what vLLM raises."""

    def abort(self, job_id: str) -> Ending | None:
        """See Engine.abort."""
