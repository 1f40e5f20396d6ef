"""Runs requests by AsyncLLM's public way, generate(): a task and a generator each, and an object a token.

The fall-back of `lean_requests`, for versions of vLLM that it does not know. It costs more, and text that vLLM holds
back because it may begin a stop text is lost when a request is aborted.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from penstock_service.engine.base import Ending, Job
from penstock_service.engine.vllm import translation
from penstock_service.engine.vllm.refusals import as_service_error
from penstock_service.engine.vllm.requests import LogprobsReceiver, Output, Prepared, take_logprobs, wants_logprobs


class PublicRequests:
    """Requests over AsyncLLM.generate()."""

    def __init__(self, llm: AsyncLLM) -> None:
        self._llm = llm
        self._pumps: dict[str, _Pump] = {}

    async def add(self, job: Job, prepared: Prepared, receiver: Output) -> None:
        """See Requests."""
        # An aborted request of another kind would take what it has generated with it.
        prepared.params.output_kind = RequestOutputKind.DELTA
        outputs = self._llm.generate(
            prepared.prompt,
            prepared.params,
            job.id,
            trace_headers=prepared.trace_headers,
            priority=job.request.priority,
            **prepared.engine_arguments,
        )
        pump = self._pumps[job.id] = _Pump(job, prepared, receiver)
        pump.task = asyncio.create_task(pump.run(outputs), name="vllm request")
        pump.task.add_done_callback(lambda _: self._pumps.pop(job.id, None))

    def abort(self, job_id: str) -> Ending | None:
        """See Requests."""
        pump = self._pumps.pop(job_id, None)
        if pump is None:
            return None
        pump.task.cancel()  # generate() aborts the request in the engine when it is cancelled
        return pump.ending("", ())

    def completion_tokens(self, job_id: str) -> int:
        """See Requests."""
        pump = self._pumps.get(job_id)
        return 0 if pump is None else pump.tokens


class _Pump:
    """One request on its way from generate() to its receiver."""

    task: "asyncio.Task[None]"

    def __init__(self, job: Job, prepared: Prepared, receiver: Output) -> None:
        self._job = job
        self._prepared = prepared
        self._receiver = receiver
        self._last: RequestOutput | None = None
        self.tokens = 0
        self._first_seen: float | None = None
        self._last_seen: float | None = None

    async def run(self, outputs: AsyncGenerator[RequestOutput, None]) -> None:
        try:
            async with aclosing(outputs):
                async for output in outputs:
                    self._take(output)
        except Exception as error:
            self._receiver.failed(as_service_error(error, "sampling") or error, self.ending("", ()))

    def ending(self, text: str, token_ids: Sequence[int]) -> Ending:
        cached = self._last.num_cached_tokens if self._last else None
        usage = translation.usage(len(self._prepared.prompt["prompt_token_ids"]), self.tokens, cached)
        stats = self._last.metrics if self._last else None
        timings = translation.timings(stats, self._job.received, self._first_seen, self._last_seen, self.tokens)
        return Ending(text, token_ids, usage, timings)

    def _take(self, output: RequestOutput) -> None:
        (sequence,) = output.outputs
        self._last, self._last_seen = output, time.monotonic()
        self._first_seen = self._first_seen or self._last_seen
        self.tokens += len(sequence.token_ids)
        if wants_logprobs(self._prepared.params):
            take_logprobs(cast(LogprobsReceiver, self._receiver), output)
        if sequence.finish_reason is None:
            self._receiver.put(sequence.text, sequence.token_ids)
            return
        ending = self.ending(sequence.text, sequence.token_ids)
        try:
            finish = translation.finish(
                sequence.finish_reason,
                sequence.stop_reason,
                self._prepared.asked_tokens,
                self.tokens,
                self._prepared.constrained,
            )
        except Exception as error:
            self._receiver.failed(error, ending)
        else:
            self._receiver.finished(ending, finish)
