"""The simulated engine: deterministic tokens at the pace of a timing model, for integration and load tests.

It batches continuously like a real engine: at each step every running sequence gains a token, waiting ones join as soon
as a place and their share of the cache are free, and reading a prompt lengthens the step that takes it on.
"""

import asyncio
import time
from bisect import insort
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from penstock.v1.generation_pb2 import EmbedRequest, GenerateRequest, Usage
from penstock.v1.models_pb2 import Model
from penstock_service import __version__
from penstock_service.engine.base import Demand, Embedder, Ending, Job, Receiver, Tokenized
from penstock_service.engine.simulated_controls import SimulatedControls
from penstock_service.engine.simulated_text import BYTES_PER_TOKEN, VOCABULARY_SIZE, SimulatedSequence
from penstock_service.engine.simulated_tokenization import detokenized, tokenized
from penstock_service.engine.timings import measured
from penstock_service.errors import FeatureOff, ServiceError, Unavailable
from penstock_service.limits import ModelLimits, check_prompt_length
from penstock_service.loading_progress import report
from penstock_service.settings import Settings, SimulatedSettings

_MOST_ADAPTERS = 8


class SimulatedEngine:
    """An Engine whose tokens are pure functions of the request. `load` makes one."""

    occupied = False  # what its operator asks takes no time

    def __init__(self, model: Model, timing: SimulatedSettings) -> None:
        self.model = model
        self.max_adapters = _MOST_ADAPTERS
        self.controls = SimulatedControls()
        self.steps = 0
        self._adapters: set[str] = set()
        self._limits = ModelLimits.of(model)
        self._timing = timing
        self._runs: dict[str, _Run] = {}
        self._waiting: list[_Run] = []
        self._batch: list[_Run] = []
        self._wake = asyncio.Event()
        self._dead = asyncio.Event()
        self._steps = asyncio.create_task(self._step_for_ever(), name="simulated-engine")

    @classmethod
    async def load(cls, settings: Settings) -> Self:
        """Take as long as the settings say, then return the engine."""
        timing = settings.simulated
        report("loading", timing.load_seconds)
        await asyncio.sleep(timing.load_seconds)
        model = Model(
            name=settings.model_name,
            context_length=timing.context_length,
            vocabulary_size=VOCABULARY_SIZE,
            max_concurrent_sequences=timing.max_concurrent_sequences,
            chat=True,
            engine="simulated",
            engine_version=__version__,
            max_prompt_bytes=timing.context_length * BYTES_PER_TOKEN,
        )
        model.load_time.GetCurrentTime()
        return cls(model, timing)

    @property
    def running(self) -> int:
        """Generations inside the engine, waiting ones included."""
        return len(self._runs)

    @property
    def waiting(self) -> int:
        """See Engine.waiting."""
        return len(self._waiting)

    def completion_tokens(self, job_id: str) -> int:
        """See Engine.completion_tokens."""
        run = self._runs.get(job_id)
        return 0 if run is None else run.sequence.tokens

    async def prepare(self, job: Job) -> Job:
        """See Engine.prepare."""
        return job

    async def submit(self, job: Job, receiver: Receiver) -> None:
        """See Engine.submit."""
        sequence = SimulatedSequence(job.request, self._timing.context_length, self._known(job.adapter))
        field = job.request.WhichOneof("input") or "input"
        check_prompt_length(sequence.prompt_tokens, field, self._limits)
        if self._dead.is_set():
            raise Unavailable("ENGINE_DEAD")
        run = self._runs[job.id] = _Run(sequence, job, receiver)
        insort(self._waiting, run, key=lambda run: run.job.request.priority)
        self._wake.set()

    def abort(self, job_id: str) -> Ending | None:
        """See Engine.abort."""
        run = self._runs.pop(job_id, None)
        if run is None:
            return None
        (self._batch if run in self._batch else self._waiting).remove(run)
        return run.ending()

    def refusal(self, sequences: int) -> ServiceError | None:
        """See Engine.refusal. Its queue is as long as it need be."""
        return Unavailable("ENGINE_DEAD") if self._dead.is_set() else None

    async def demand(self, request: GenerateRequest) -> Demand:
        """See Engine.demand."""
        sequence = SimulatedSequence(request, self._timing.context_length)
        check_prompt_length(sequence.prompt_tokens, request.WhichOneof("input") or "input", self._limits)
        return Demand(sequence.prompt_tokens, sequence.max_tokens)

    async def tokenize(self, request: GenerateRequest) -> Tokenized:
        """See Engine.tokenize."""
        return tokenized(request)

    async def detokenize(self, token_ids: Sequence[int], skip_special_tokens: bool) -> str:
        """See Engine.detokenize."""
        return detokenized(token_ids, skip_special_tokens)

    def embedder(self, request: EmbedRequest, adapter: str | None) -> Embedder:
        """See Engine.embedder."""
        raise FeatureOff("the simulated engine embeds nothing")

    async def load_adapter(self, key: str, directory: Path) -> None:
        """See Engine.load_adapter."""
        self._adapters.add(key)

    async def unload_adapter(self, key: str) -> None:
        """See Engine.unload_adapter."""
        if any(run.job.adapter == key for run in self._runs.values()):
            raise RuntimeError("an adapter was unloaded that jobs use")
        self._adapters.remove(key)

    def _known(self, adapter: str | None) -> str | None:
        if adapter is not None and adapter not in self._adapters:
            raise RuntimeError("a job names an adapter that is not loaded")
        return adapter

    @property
    def kv_cache_usage(self) -> float:
        """See Engine.kv_cache_usage."""
        return min(sum(run.cache_tokens for run in self._batch) / self._timing.kv_cache_tokens, 1.0)

    async def died(self) -> None:
        """Return when the engine was killed."""
        await self._dead.wait()

    def kill(self) -> None:
        """Die as an engine process does: every generation fails, and no other starts."""
        self.lose()

    def lose(self) -> None:
        """See Engine.lose."""
        self._dead.set()
        for run in tuple(self._runs.values()):
            run.receiver.failed(Unavailable("ENGINE_DEAD"), self.abort(run.job.id))

    async def close(self) -> None:
        """Stop stepping."""
        self.lose()
        self._steps.cancel()
        await asyncio.wait([self._steps])

    async def _step_for_ever(self) -> None:
        while True:
            if not self.running:
                self._wake.clear()
                await self._wake.wait()
            prefill = self._take_on()
            step = self._timing.step_time_ms / 1000 + prefill / self._timing.prefill_tokens_per_second
            await self._work(step)
            self.steps += 1
            for run in tuple(self._batch):
                if run.job.id in self._runs:  # a delivery can end another one
                    run.advance()
                    self._deliver(run)

    async def _work(self, seconds: float) -> None:
        """Take as long as the step does."""
        await asyncio.sleep(seconds)

    def _deliver(self, run: "_Run") -> None:
        if run.sequence.finish:
            self._batch.remove(run)
            del self._runs[run.job.id]
            run.receiver.finished(run.ending(), run.sequence.finish)
        elif run.job.streamed:
            run.receiver.put(*run.take())

    def _take_on(self) -> int:
        """Move waiting sequences into the batch while they fit; return how many prompt tokens they bring."""
        prefill = 0
        held = sum(run.cache_tokens for run in self._batch)
        while self._waiting and len(self._batch) < self._timing.max_concurrent_sequences:
            run = self._waiting[0]
            if self._batch and held + run.cache_tokens > self._timing.kv_cache_tokens:
                break
            run.started = time.monotonic()
            self._batch.append(self._waiting.pop(0))
            held += run.cache_tokens
            prefill += run.sequence.prompt_tokens
        return prefill


class _Run:
    """A sequence on its way through the engine, with its moments on time.monotonic()."""

    def __init__(self, sequence: SimulatedSequence, job: Job, receiver: Receiver) -> None:
        self.sequence = sequence
        self.job = job
        self.receiver = receiver
        self.cache_tokens = sequence.prompt_tokens + sequence.max_tokens
        self.joined = time.monotonic()
        self.started: float | None = None
        self.first: float | None = None
        self.last: float | None = None

    def advance(self) -> None:
        self.sequence.advance()
        self.last = time.monotonic()
        self.first = self.first or self.last

    def take(self) -> tuple[str, list[int]]:
        text, token_ids = self.sequence.take()
        response = self.job.request.response
        return text if response.text or not response.HasField("text") else "", token_ids

    def ending(self) -> Ending:
        """What is left, when the sequence ends here."""
        usage = Usage(prompt_tokens=self.sequence.prompt_tokens, completion_tokens=self.sequence.tokens)
        queued = None if self.started is None else self.started - self.joined
        timings = measured(self.job.received, self.first, self.last, self.sequence.tokens, queued)
        self.sequence.release()
        return Ending(*self.take(), usage, timings)
