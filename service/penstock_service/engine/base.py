"""What the service asks of an engine. The contract's messages are the vocabulary; nothing of vLLM shows here.

The engine pushes: it calls a job's receiver on the event loop as its steps complete. Nothing waits on a token, no task
wakes for one, and what a step brings to all jobs is there before any reader runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from penstock.v1.generation_pb2 import Finish, GenerateRequest, Timings, Usage
from penstock.v1.models_pb2 import Model
from penstock_service.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Job:
    """One request as the engine sees it. It has passed `limits.check`."""

    id: str
    request: GenerateRequest
    received: float  # time.monotonic() when the call reached its handler
    streamed: bool  # output as it comes, or all of it at the end
    trace_headers: Mapping[str, str] = field(default_factory=dict)


class Ending(NamedTuple):
    """What is left to say when a job ends, whatever ended it."""

    text: str  # not delivered yet
    token_ids: Sequence[int]  # not delivered yet
    usage: Usage
    timings: Timings


class Receiver(Protocol):
    """Takes what the engine makes of one job: puts, then one end. It never blocks and never raises."""

    def put(self, text: str, token_ids: Sequence[int]) -> None:
        """Take new output. Of a job that is not streamed it may all come with the end instead."""

    def finished(self, ending: Ending, finish: Finish) -> None:
        """The job is complete."""

    def failed(self, error: ServiceError | Exception, ending: Ending | None) -> None:
        """The engine gave the job up; Unavailable when it is dead. `ending` is what there is, if that is known."""


class Engine(Protocol):
    """Turns requests into tokens, many at a time."""

    @property
    def model(self) -> Model:
        """The served model and its limits."""

    @property
    def running(self) -> int:
        """Jobs inside the engine, waiting ones included."""

    async def submit(self, job: Job, receiver: Receiver) -> None:
        """Hand over a job; its output goes to `receiver`, perhaps before this returns.

        Raises InvalidRequest for what only the tokens can tell (the prompt's length), Overloaded, and Unavailable when
        the engine is dead. After an error, or when the caller is cancelled meanwhile, nothing of the job is left.
        """

    def abort(self, job_id: str) -> Ending | None:
        """Stop a job and free what it holds; return what was not delivered. Its receiver hears no more of it.

        None for a job that is not here: never submitted, finished, failed or aborted.
        """

    async def died(self) -> None:
        """Return when the engine can never generate again; an engine that is well never returns."""

    async def close(self) -> None:
        """Stop the engine and free what it holds. Jobs that still run fail with Unavailable."""
