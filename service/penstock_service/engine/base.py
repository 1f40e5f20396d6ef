"""What the service asks of an engine. The contract's messages are the vocabulary; nothing of vLLM shows here."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest
from penstock.v1.models_pb2 import Model


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation as the engine sees it. The request has passed `limits.check`."""

    id: str
    request: GenerateRequest
    received: float  # time.monotonic() when the call reached its handler
    streamed: bool  # deltas as they come, or one chunk with everything
    trace_headers: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """Turns requests into chunks, many at a time."""

    @property
    def model(self) -> Model:
        """The served model and its limits."""

    @property
    def running(self) -> int:
        """Generations inside the engine, waiting ones included."""

    def generate(self, generation: Generation) -> AsyncGenerator[GenerateChunk, None]:
        """Yield the chunks of one generation as StreamGenerate defines them; a single one unless it is streamed.

        Closing the generator, or cancelling the task that reads it, frees everything that the generation holds in the
        engine. Raises InvalidRequest for what only the tokens can tell (the prompt's length), and Unavailable when the
        engine stops before the generation is complete: a generator that ends without an error is complete.
        """

    async def died(self) -> None:
        """Return when the engine can never generate again; an engine that is well never returns."""

    async def close(self) -> None:
        """Stop the engine and free what it holds. Generations that still run fail with Unavailable."""
