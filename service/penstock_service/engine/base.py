"""What the service asks of an engine. The contract's messages are the vocabulary; nothing of vLLM shows here.

The engine pushes: it calls a job's receiver on the event loop as its steps complete. Nothing waits on a token, no task
wakes for one, and what a step brings to all jobs is there before any reader runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from penstock.v1.generation_pb2 import (
    AdapterVersion,
    EmbedInput,
    EmbedRequest,
    Finish,
    GenerateChunk,
    GenerateRequest,
    SequenceDelta,
    Timings,
    Usage,
)
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
    adapter: str | None = None  # NAME@VERSION of a loaded one
    adapter_version: AdapterVersion | None = None  # the same, as replies tell it
    prompt: Any = None  # of a prepared one, in the engine's terms


class Ending(NamedTuple):
    """What is left to say when a job ends, whatever ended it."""

    text: str  # not delivered yet
    token_ids: Sequence[int]  # not delivered yet
    usage: Usage
    timings: Timings
    deltas: Sequence[SequenceDelta] = ()  # not delivered yet, of a job that puts deltas


class Receiver(Protocol):
    """Takes what the engine makes of one job: puts, then one end. It never blocks and never raises."""

    def put(self, text: str, token_ids: Sequence[int]) -> None:
        """Take new output. Of a job that is not streamed it may all come with the end instead."""

    def put_delta(self, delta: SequenceDelta) -> None:
        """Take new output that is more than text and tokens of one sequence; the delta is the receiver's from now on.

        A delta may finish its sequence. A job that puts deltas puts nothing else.
        """

    def begins(self, first: GenerateChunk) -> None:
        """Take what belongs into the first chunk beside output: settings, and the prompt's tokens."""

    def finished(self, ending: Ending, finish: Finish | None) -> None:
        """The job is complete. `finish` is why its one sequence ended; None if deltas have said so."""

    def failed(self, error: ServiceError | Exception, ending: Ending | None) -> None:
        """The engine gave the job up; Unavailable when it is dead. `ending` is what there is, if that is known."""


class Demand(NamedTuple):
    """What one request would take of the context."""

    prompt_tokens: int
    most_completion_tokens: int  # of each of its sequences


class Tokenized(NamedTuple):
    """The tokens of a text."""

    token_ids: Sequence[int]
    spans: Sequence[tuple[int, int]]  # characters of `text` from and to, one for each token; empty if not known
    text: str


class Embedded(NamedTuple):
    """The vector of a text."""

    values: Sequence[float]
    prompt_tokens: int


class Embedder(Protocol):
    """Embeds the inputs of one request."""

    async def embed(self, given: EmbedInput, request_id: str) -> Embedded:
        """Embed one of them; `request_id` is unique in the engine. Cancelled, it leaves nothing behind.

        Raises InvalidRequest for what only the tokens can tell, Overloaded, and Unavailable when the engine is dead.
        """


class Controls(Protocol):
    """What an operator can ask of an engine. Each raises Unavailable when it is dead or does not answer in time."""

    def check_sleep(self) -> None:
        """Raise FeatureOff if the engine cannot sleep."""

    async def sleep(self) -> None:
        """Free the GPU's memory: weights to the host, the cache forgotten. No job may be here, and none may come."""

    async def wake(self) -> None:
        """Undo `sleep`. An engine that is awake stays so."""

    async def reset_prefix_cache(self, preempt_running: bool) -> bool:
        """Forget cached prefixes; False if jobs hold a part of the cache, which they give up to `preempt_running`."""

    async def start_profile(self) -> None:
        """Begin to profile. Raises FeatureOff without a profiler."""

    async def stop_profile(self) -> None:
        """Write the profile. Raises FeatureOff without a profiler."""


class Engine(Protocol):
    """Turns requests into tokens, many at a time."""

    @property
    def model(self) -> Model:
        """The served model and its limits."""

    @property
    def running(self) -> int:
        """Jobs inside the engine, waiting ones included."""

    @property
    def waiting(self) -> int:
        """Those of them that the engine has not taken on yet, as far as it tells."""

    @property
    def steps(self) -> int:
        """Steps that the engine is known to have made: grows for as long as it works, also where no job gets output."""

    @property
    def occupied(self) -> bool:
        """Whether it does something for its operator, as a profile or an adapter, and may make no steps meanwhile."""

    def completion_tokens(self, job_id: str) -> int:
        """Tokens that a job has so far, over all its sequences; 0 for a job that is not here."""

    async def prepare(self, job: Job) -> Job:
        """The job to submit, with what takes long and needs no place done: the prompt of a long conversation made.

        Raises InvalidRequest as `submit` does.
        """

    async def submit(self, job: Job, receiver: Receiver) -> None:
        """Hand over a job; its output goes to `receiver`, perhaps before this returns.

        Raises InvalidRequest for what only the tokens can tell (the prompt's length), Overloaded, and Unavailable when
        the engine is dead. After an error, or when the caller is cancelled meanwhile, nothing of the job is left.
        """

    def abort(self, job_id: str) -> Ending | None:
        """Stop a job and free what it holds; return what was not delivered. Its receiver hears no more of it.

        None for a job that is not here: never submitted, finished, failed or aborted.
        """

    def refusal(self, sequences: int) -> ServiceError | None:
        """Why the engine would not take a request for so many sequences now; None if it would."""

    async def demand(self, request: GenerateRequest) -> Demand:
        """What a checked request with one input would take. Raises InvalidRequest for a prompt that does not fit."""

    async def tokenize(self, request: GenerateRequest) -> Tokenized:
        """The tokens of the request's text or conversation, which may be longer than the context.

        Raises InvalidRequest for what only the chat template can tell.
        """

    async def detokenize(self, token_ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The text of tokens of the vocabulary."""

    def embedder(self, request: EmbedRequest, adapter: str | None) -> Embedder:
        """What embeds the inputs of `request`, with the adapter NAME@VERSION if one is named.

        Raises FeatureOff when the model makes no vectors or none of the dimensions, InvalidRequest for the dimensions.
        """

    @property
    def max_adapters(self) -> int:
        """The most adapters that can be loaded at once; 0 if the engine runs without."""

    async def load_adapter(self, key: str, directory: Path) -> None:
        """Load an adapter for jobs that name it by `key`, which no loaded one has.

        Raises AdapterRefused, after which nothing of it is left, and Unavailable when the engine is dead.
        """

    async def unload_adapter(self, key: str) -> None:
        """Free an adapter that no job uses any more. Raises Unavailable when the engine is dead."""

    @property
    def kv_cache_usage(self) -> float | None:
        """The part of the KV cache in use at the last step, 0 to 1; None if the engine does not tell."""

    @property
    def controls(self) -> Controls:
        """What an operator can ask of it beside generating."""

    async def died(self) -> None:
        """Return when the engine can never generate again; an engine that is well never returns."""

    def kill(self) -> None:
        """End the engine at once, for it hangs: its jobs fail with Unavailable, and `died` returns."""

    def lose(self) -> None:
        """Fail the jobs with Unavailable, for the engine was killed and does not end: it waits in the kernel."""

    async def close(self) -> None:
        """Stop the engine and free what it holds. Jobs that still run fail with Unavailable."""
