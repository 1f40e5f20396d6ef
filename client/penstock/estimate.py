"""What a request would need: from keyword arguments to the request, and a reader for what comes back. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from penstock.arguments import ArgumentValueError
from penstock.errors import APIError
from penstock.generate_options import BatchOptions, GenerateOptions
from penstock.requests import InputLike, batch_request, generate_request
from penstock.statuses import from_rpc_status
from penstock.v1.generation_pb2 import EstimateRequest, EstimateResponse

if TYPE_CHECKING:
    from typing_extensions import Unpack


def estimate_request(
    prompt: str | None, inputs: Iterable[InputLike] | None, **options: Unpack[GenerateOptions]
) -> EstimateRequest:
    """The request about `prompt` and `options`, or about a batch of `inputs`. Raises what these requests raise."""
    if inputs is None:
        return EstimateRequest(request=generate_request(prompt, **options))
    if prompt is not None:
        raise ArgumentValueError("inputs", "cannot go with prompt: a request has one input")
    return EstimateRequest(request=batch_request(inputs, **cast(BatchOptions, options)))


class Estimate:
    """What a request would need."""

    __slots__ = ("proto",)

    def __init__(self, proto: EstimateResponse) -> None:
        self.proto = proto

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, over all inputs of a batch."""
        return self.proto.prompt_tokens

    @property
    def max_completion_tokens(self) -> int:
        """The most tokens that it could generate, over all inputs and sequences."""
        return self.proto.max_completion_tokens

    @property
    def admitted(self) -> bool:
        """Whether the server would take it now."""
        return self.proto.admitted

    @property
    def refusal(self) -> APIError | None:
        """The error that it would get now; None if it would be admitted."""
        return from_rpc_status(self.proto.refusal) if self.proto.HasField("refusal") else None

    @property
    def wait_ms(self) -> int | None:
        """How long it would wait for its first step, in milliseconds; None if the server cannot tell yet."""
        return self.proto.wait_ms if self.proto.HasField("wait_ms") else None

    def __repr__(self) -> str:
        return f"Estimate(prompt_tokens={self.prompt_tokens}, admitted={self.admitted}, wait_ms={self.wait_ms})"
