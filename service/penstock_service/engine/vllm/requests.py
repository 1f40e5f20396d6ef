"""What both ways of running a request in vLLM have in common."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from vllm.outputs import RequestOutput
from vllm.sampling_params import SamplingParams

from penstock.v1.generation_pb2 import Finish
from penstock_service.engine.base import Ending, Job
from penstock_service.errors import ServiceError


class Prepared(NamedTuple):
    """A job in vLLM's terms."""

    prompt: Any  # vLLM's EngineInput, with the tokens
    params: SamplingParams
    trace_headers: Mapping[str, str] | None  # None unless vLLM traces
    asked_tokens: int | None  # by the caller or the model's generation_config; None for all that fit
    engine_arguments: Mapping[str, Any] = {}  # further ones of AsyncLLM.generate
    constrained: str | None = None  # the field of the request that constrains the output


class Output(Protocol):
    """Takes what one request in vLLM makes: puts, then one end (engine.base.Receiver, of which it is a part)."""

    def put(self, text: str, token_ids: Sequence[int]) -> None:
        """New output."""

    def finished(self, ending: Ending, finish: Finish) -> None:
        """The request is complete."""

    def failed(self, error: ServiceError | Exception, ending: Ending | None) -> None:
        """The engine gave the request up."""


class Requests(Protocol):
    """Runs prepared jobs in an AsyncLLM and delivers what comes of them."""

    async def add(self, job: Job, prepared: Prepared, receiver: Output) -> None:
        """Hand a job to the engine. Raises what vLLM raises."""

    def abort(self, job_id: str) -> Ending | None:
        """See Engine.abort."""

    def completion_tokens(self, job_id: str) -> int:
        """See Engine.completion_tokens."""


class LogprobsReceiver(Output, Protocol):
    """The receiver of a job that asks for logprobs: it takes them before each put and before the end."""

    def take_logprobs(self, token_ids: Sequence[int], found: Sequence[Mapping[int, Any] | None]) -> None:
        """What vLLM tells of new tokens: for each place, by token id."""

    def take_prompt_logprobs(self, token_ids: Sequence[int], found: Sequence[Mapping[int, Any] | None]) -> None:
        """What vLLM tells of the prompt's tokens, once; None for the first."""


def wants_logprobs(params: SamplingParams) -> bool:
    """Whether the receiver of such a request is a LogprobsReceiver."""
    return params.logprobs is not None or params.prompt_logprobs is not None


def take_logprobs(receiver: LogprobsReceiver, output: RequestOutput) -> None:
    """Deliver the logprobs of one of vLLM's outputs."""
    (sequence,) = output.outputs
    if output.prompt_logprobs:
        receiver.take_prompt_logprobs(output.prompt_token_ids or (), output.prompt_logprobs)
    if sequence.logprobs and sequence.token_ids:
        receiver.take_logprobs(sequence.token_ids, sequence.logprobs[-len(sequence.token_ids) :])
