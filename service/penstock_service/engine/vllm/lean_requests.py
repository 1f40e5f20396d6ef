"""Runs requests with as little work a token as vLLM allows: its step loop calls our receivers itself.

AsyncLLM.generate() makes a RequestOutput and a CompletionOutput a token, puts them into a collector, wakes a task and
passes two generators. Here the object that vLLM keeps for a request (RequestState, in OutputProcessor.request_states)
gets our own `make_request_output` and `queue`, so that its step loop hands over text and tokens in one plain call.
vLLM's detokenizer, stop texts, statistics and clean-up stay as they are.

This is below vLLM's public surface (v1/engine/output_processor.py): only here, checked by `fits` at the start, with
`public_requests` where it does not fit, and the same tests over both. docs/performance.md has what it gains.
"""

import asyncio
import contextlib
import inspect
import time
from collections.abc import Sequence
from typing import Any

from vllm.outputs import RequestOutput
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.engine.output_processor import OutputProcessor, RequestOutputCollector, RequestState

from penstock_service.engine.base import Ending, Job
from penstock_service.engine.vllm import translation
from penstock_service.engine.vllm.requests import LogprobsReceiver, Output, Prepared, take_logprobs, wants_logprobs
from penstock_service.errors import Unavailable


def fits() -> bool:
    """Whether this vLLM has the seam as we know it."""
    made = list(inspect.signature(RequestState.make_request_output).parameters)
    return made[:5] == ["self", "new_token_ids", "pooling_output", "finish_reason", "stop_reason"] and all(
        hasattr(OutputProcessor, name) for name in ("abort_requests", "process_outputs", "propagate_error")
    )


class LeanRequests:
    """Requests whose RequestState delivers to the receiver."""

    def __init__(self, llm: AsyncLLM) -> None:
        self._llm = llm
        self._requests: dict[str, _Request] = {}
        self._aborts: set[asyncio.Task[None]] = set()

    async def add(self, job: Job, prepared: Prepared, receiver: Output) -> None:
        """See Requests."""
        try:
            collector = await self._llm.add_request(
                job.id,
                prepared.prompt,
                prepared.params,
                trace_headers=prepared.trace_headers,
                priority=job.request.priority,
                **prepared.engine_arguments,
            )
        except BaseException:
            # vLLM registers the request before it awaits the engine's socket, and does not take that back.
            await self._llm.abort(job.id)
            raise
        self.adopt(collector, job, prepared, receiver)

    def adopt(self, collector: RequestOutputCollector, job: Job, prepared: Prepared, receiver: Output) -> None:
        """Deliver a request's output to `receiver` from now on, what has come already first."""
        state: Any = self._llm.output_processor.request_states.get(collector.request_id)
        kind = _RequestWithLogprobs if wants_logprobs(prepared.params) else _Request
        request = kind(self, state, job, prepared, receiver)
        if state is not None:
            self._requests[job.id] = request
            state.make_request_output = request.make_request_output
            state.queue = request
        try:
            early: Any = collector.get_nowait()
        except Exception as error:
            request.put(error)
            return
        if early is not None:
            request.put(early)

    def abort(self, job_id: str) -> Ending | None:
        """See Requests."""
        request = self._requests.pop(job_id, None)
        return None if request is None else request.abort()

    def completion_tokens(self, job_id: str) -> int:
        """See Requests."""
        request = self._requests.get(job_id)
        return 0 if request is None else request.tokens

    def forget(self, job_id: str) -> None:
        """The request has ended by itself."""
        self._requests.pop(job_id, None)

    def abort_in_engine(self, request_id: str) -> None:
        """Free a request everywhere; the engine process learns of it in a moment."""
        task = asyncio.get_running_loop().create_task(self._abort(request_id), name="vllm abort")
        self._aborts.add(task)
        task.add_done_callback(self._aborts.discard)

    async def _abort(self, request_id: str) -> None:
        with contextlib.suppress(EngineDeadError):
            await self._llm.abort(request_id, internal=True)


class _Request:
    """One request; stands in for its RequestOutputCollector and for RequestState.make_request_output."""

    __slots__ = (
        "_aborted",
        "_first_seen",
        "_job",
        "_next_text",
        "_owner",
        "_prepared",
        "_put",
        "_receiver",
        "_state",
        "_streamed",
    )

    def __init__(self, owner: LeanRequests, state: Any, job: Job, prepared: Prepared, receiver: Output) -> None:
        self._owner = owner
        self._state = state
        self._job = job
        self._prepared = prepared
        self._receiver = receiver
        self._aborted = False
        self._first_seen: float | None = None
        # Bound once: they are called for every token.
        self._streamed = job.streamed
        self._put = receiver.put
        self._next_text: Any = state.detokenizer.get_next_output_text if state is not None else None

    @property
    def tokens(self) -> int:
        """How many it has so far."""
        return int(self._state.detokenizer.num_output_tokens())

    def make_request_output(
        self,
        new_token_ids: list[int],
        pooling_output: object,
        finish_reason: object | None,
        stop_reason: int | str | None,
        *_: object,
        **__: object,
    ) -> None:
        """What vLLM's step loop calls for each request of a step; it puts nothing into a queue for None."""
        if self._first_seen is None:
            self._first_seen = time.monotonic()
        if self._aborted:
            return
        try:
            if finish_reason is not None:
                self._end(str(finish_reason), stop_reason, self._ending(new_token_ids))
            elif self._streamed:
                self._put(self._next_text(False, True), new_token_ids)
        except Exception as error:
            # Raised further, it would end vLLM's step loop and with it every request.
            self._give_up(error)

    def put(self, output: RequestOutput | Exception) -> None:
        """What came before we were there, and errors."""
        if isinstance(output, Exception):
            self._owner.forget(self._job.id)
            dead = isinstance(output, EngineDeadError)
            self._receiver.failed(Unavailable("ENGINE_DEAD") if dead else output, self._ending(()))
            return
        (sequence,) = output.outputs
        self.take_logprobs(output)
        if sequence.finish_reason is None:
            self._receiver.put(sequence.text, sequence.token_ids)
            return
        tokens = len(sequence.token_ids)  # all of them: the request ended before anything was read
        moment = time.monotonic()
        timings = translation.timings(output.metrics, self._job.received, moment, moment, tokens)
        usage = translation.usage(len(output.prompt_token_ids or ()), tokens, output.num_cached_tokens)
        ending = Ending(sequence.text, sequence.token_ids, usage, timings)
        self._end(sequence.finish_reason, sequence.stop_reason, ending)

    def abort(self) -> Ending:
        """Stop it; what it has is returned."""
        self._aborted = True
        assert self._state is not None  # noqa: S101 - without one it has ended, and is not among the requests
        self._owner.abort_in_engine(self._state.request_id)
        return self._ending(())

    def take_logprobs(self, output: RequestOutput) -> None:
        """What came before we were there."""

    def _give_up(self, error: Exception) -> None:
        self._aborted = True
        self._owner.forget(self._job.id)
        self._owner.abort_in_engine(self._state.request_id)
        self._receiver.failed(error, None)

    def _end(self, reason: str, stop: int | str | None, ending: Ending) -> None:
        self._owner.forget(self._job.id)
        try:
            prepared, tokens = self._prepared, ending.usage.completion_tokens
            finish = translation.finish(reason, stop, prepared.asked_tokens, tokens, prepared.constrained)
        except Exception as error:
            self._receiver.failed(error, ending)
        else:
            self._receiver.finished(ending, finish)

    def _ending(self, new_token_ids: Sequence[int]) -> Ending:
        state: Any = self._state
        tokens = self.tokens
        text = state.detokenizer.get_next_output_text(True, self._job.streamed)
        token_ids = new_token_ids if self._job.streamed else state.detokenizer.output_token_ids
        last_seen = time.monotonic() if tokens else None
        return Ending(
            text,
            token_ids,
            translation.usage(state.prompt_len, tokens, state.num_cached_tokens),
            translation.timings(state.stats, self._job.received, self._first_seen, last_seen, tokens),
        )


class _RequestWithLogprobs(_Request):
    """One request whose tokens are told with their logprobs; its receiver takes them before each put."""

    __slots__ = ()

    _receiver: LogprobsReceiver

    def make_request_output(
        self,
        new_token_ids: list[int],
        pooling_output: object,
        finish_reason: object | None,
        stop_reason: int | str | None,
        *_: object,
        **__: object,
    ) -> None:
        """As for every request, after what vLLM's processor has found for the same step."""
        if not self._aborted:
            try:
                self._take(new_token_ids)
            except Exception as error:
                self._give_up(error)
        super().make_request_output(new_token_ids, pooling_output, finish_reason, stop_reason)

    def take_logprobs(self, output: RequestOutput) -> None:
        """What came before we were there."""
        take_logprobs(self._receiver, output)

    def _take(self, new_token_ids: Sequence[int]) -> None:
        processor, receiver = self._state.logprobs_processor, self._receiver
        prompt = processor.pop_prompt_logprobs()
        if prompt:
            receiver.take_prompt_logprobs(self._state.prompt_token_ids, prompt)
        if processor.logprobs is not None and new_token_ids:
            receiver.take_logprobs(new_token_ids, processor.logprobs[-len(new_token_ids) :])
