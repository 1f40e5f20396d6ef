"""An engine whose work is done by a child process, so that its death, its halt and its signals are real.

`ChildEngines` is a loader: each load starts a child. What a child has said is the truth; the rest is asked of the pure
functions that it uses itself. Text that a stop string holds back is lost with the child.
"""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from penstock.v1.generation_pb2 import EmbedRequest, GenerateRequest, Usage
from penstock.v1.models_pb2 import Model
from penstock_service.engine.base import Demand, Embedder, Ending, Job, Receiver, Tokenized
from penstock_service.engine.simulated_controls import SimulatedControls
from penstock_service.engine.simulated_text import SimulatedSequence, prompt_tokens
from penstock_service.engine.simulated_tokenization import detokenized, tokenized
from penstock_service.engine.timings import measured
from penstock_service.errors import FeatureOff, ServiceError, Unavailable
from penstock_service.limits import ModelLimits, check_prompt_length
from penstock_service.settings import Settings
from tests.faults.frames import Output, Report, framed, next_frame

_CLOSING_SECONDS = 2.0


@dataclass
class Counts:
    """What became of jobs. Each that was submitted counts once more, where it ends."""

    submitted: int = 0
    finished: int = 0
    failed: int = 0
    aborted: int = 0


class ChildEngines:
    """Loads engines, one after the other, and counts over all of them."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.loaded: list[ChildEngine] = []

    async def __call__(self, settings: Settings) -> "ChildEngine":
        engine = await ChildEngine.load(settings, self.counts)
        self.loaded.append(engine)
        return engine


class ChildEngine:
    """An Engine in front of a child process. `load` makes one."""

    max_adapters = 0
    kv_cache_usage: float | None = None
    occupied = False

    def __init__(self, process: asyncio.subprocess.Process, model: Model, settings: Settings, counts: Counts) -> None:
        self.model = model
        self.process = process
        self.waiting = 0
        self.steps = 0
        self.controls = SimulatedControls()
        self._context_length = settings.simulated.context_length
        self._limits = ModelLimits.of(model)
        self._counts = counts
        self._runs: dict[str, _Run] = {}
        self._dead = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear(), name="engine child")

    @classmethod
    async def load(cls, settings: Settings, counts: Counts) -> Self:
        """Start a child and wait until it is ready."""
        pipe = asyncio.subprocess.PIPE
        program = [sys.executable, "-m", "tests.faults.engine_child"]
        process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)
        assert process.stdin is not None
        assert process.stdout is not None
        own = Settings(engine="simulated", served_model_name=settings.model_name, simulated=settings.simulated)
        process.stdin.write(framed(own))
        return cls(process, await next_frame(process.stdout), settings, counts)

    @property
    def running(self) -> int:
        """See Engine.running."""
        return len(self._runs)

    def completion_tokens(self, job_id: str) -> int:
        """See Engine.completion_tokens."""
        run = self._runs.get(job_id)
        return 0 if run is None else run.tokens

    async def prepare(self, job: Job) -> Job:
        """See Engine.prepare."""
        return job

    async def submit(self, job: Job, receiver: Receiver) -> None:
        """See Engine.submit."""
        run = _Run(job, receiver, prompt_tokens(job.request))
        check_prompt_length(run.prompt_tokens, job.request.WhichOneof("input") or "input", self._limits)
        if self._dead.is_set():
            raise Unavailable("ENGINE_DEAD")
        self._runs[job.id] = run
        self._counts.submitted += 1
        # Streamed also where the service wants one answer: what there is when the child dies is known here.
        self._send("submit", replace(job, streamed=True, trace_headers={}))

    def abort(self, job_id: str) -> Ending | None:
        """See Engine.abort."""
        run = self._runs.pop(job_id, None)
        if run is None:
            return None
        self._counts.aborted += 1
        self._send("abort", job_id)
        return run.ending()

    def refusal(self, sequences: int) -> ServiceError | None:
        """See Engine.refusal."""
        return Unavailable("ENGINE_DEAD") if self._dead.is_set() else None

    async def demand(self, request: GenerateRequest) -> Demand:
        """See Engine.demand."""
        sequence = SimulatedSequence(request, self._context_length)
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
        raise FeatureOff("the engine runs without adapters")

    async def unload_adapter(self, key: str) -> None:
        """See Engine.unload_adapter."""

    async def died(self) -> None:
        """See Engine.died."""
        await self._dead.wait()

    def kill(self) -> None:
        """See Engine.kill. The child's death is noticed as any other."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def close(self) -> None:
        """See Engine.close."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.kill()
        await self.process.wait()
        await self._hearing

    def _send(self, what: str, about: object) -> None:
        assert self.process.stdin is not None
        if not self._dead.is_set() and not self.process.stdin.is_closing():
            self.process.stdin.write(framed((what, about)))

    async def _hear(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                self._take(await next_frame(self.process.stdout))
        self._dead.set()
        for job_id, run in tuple(self._runs.items()):
            if self._runs.pop(job_id, None) is not None:  # a failure can end another one
                self._counts.failed += 1
                run.receiver.failed(Unavailable("ENGINE_DEAD"), run.ending())
        await self.process.wait()

    def _take(self, report: Report) -> None:
        self.steps, self.waiting = report.steps, report.waiting
        for output in report.outputs:
            run = self._runs.get(output.job_id)
            if run is None:
                continue  # aborted meanwhile
            run.take(output)
            if output.ending is not None:
                del self._runs[output.job_id]
                self._counts.finished += 1
                ending = output.ending
                run.receiver.finished(ending._replace(text=run.text, token_ids=run.token_ids), output.finish)
            elif run.job.streamed:
                run.receiver.put(run.text, run.token_ids)
                run.text, run.token_ids = "", []


@dataclass
class _Run:
    """A job of the child's, and what of it was not delivered yet."""

    job: Job
    receiver: Receiver
    prompt_tokens: int
    tokens: int = 0
    text: str = ""
    token_ids: list[int] = field(default_factory=list)

    def take(self, output: Output) -> None:
        self.tokens += len(output.token_ids)
        self.text += output.text
        self.token_ids = [*self.token_ids, *output.token_ids]

    def ending(self) -> Ending:
        usage = Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.tokens)
        return Ending(self.text, self.token_ids, usage, measured(self.job.received, None, None, self.tokens, None))
