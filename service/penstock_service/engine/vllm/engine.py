"""vLLM behind the Engine protocol: AsyncLLM, whose engine core runs in a process of its own."""

import asyncio
from collections.abc import Callable
from typing import Any, Self

import vllm
import vllm.envs
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.v1.engine.async_llm import AsyncLLM

from penstock.v1.models_pb2 import Model
from penstock_service.configuration import ConfigurationError
from penstock_service.daemon_thread import in_daemon_thread
from penstock_service.engine.base import Ending, Job, Receiver
from penstock_service.engine.vllm import lean_requests, sampled_stats, translation
from penstock_service.engine.vllm.interrupts import children_ignore_interrupts
from penstock_service.engine.vllm.lean_requests import LeanRequests
from penstock_service.engine.vllm.prompts import Prompts
from penstock_service.engine.vllm.public_requests import PublicRequests
from penstock_service.engine.vllm.refusals import as_service_error
from penstock_service.engine.vllm.requests import Prepared, Requests
from penstock_service.errors import FeatureOff
from penstock_service.limits import ModelLimits, check_prompt_length

# How often vLLM is asked whether its engine process is still there; it learns that from the process's sentinel.
_DEATH_POLL_SECONDS = 1.0
# The engine process ends its worker first; on a loaded machine that takes seconds. Then it is killed.
SHUTDOWN_SECONDS = 15.0
# A character of a tokenizer's vocabulary stands for at most this many bytes of UTF-8.
_MOST_BYTES_PER_CHARACTER = 4


class VllmEngine:
    """An Engine over one AsyncLLM. `start` makes one."""

    def __init__(self, llm: AsyncLLM, name: str, requests: Requests | None = None) -> None:
        self._llm = llm
        self.model = _described(llm, name)
        self._limits = ModelLimits.of(self.model)
        self._defaults = llm.model_config.get_diff_sampling_param()
        self._prompts = Prompts(llm)
        self._requests = requests or (LeanRequests(llm) if lean_requests.fits() else PublicRequests(llm))

    @classmethod
    async def start(
        cls, arguments: AsyncEngineArgs, name: str, create: Callable[[AsyncEngineArgs], AsyncLLM] | None = None
    ) -> Self:
        """Start the engine process and load the model. Raises ConfigurationError for what vLLM refuses."""
        try:
            llm = await in_daemon_thread(lambda: (create or _create)(arguments))
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"vLLM refuses the model or its arguments: {error}") from error
        try:
            # vLLM looks its variables up a dozen times a request; its engine process does the same.
            vllm.envs.enable_envs_cache()
            if sampled_stats.fits():
                sampled_stats.sample(llm.output_processor)
            return cls(llm, name)
        except BaseException:
            llm.shutdown(SHUTDOWN_SECONDS)
            raise

    @property
    def running(self) -> int:
        """Generations inside the engine, waiting ones included."""
        return len(self._llm.output_processor.request_states)

    async def submit(self, job: Job, receiver: Receiver) -> None:
        """See Engine.submit."""
        field = job.request.WhichOneof("input") or "input"
        try:
            prompt = await self._prompts.render(job.request)
            check_prompt_length(len(prompt["prompt_token_ids"]), field, self._limits)
            field = "sampling"  # what vLLM can still refuse
            await self._requests.add(job, self._prepared(job, prompt), receiver)
        except Exception as error:
            if (known := as_service_error(error, field)) is None or known is error:
                raise
            raise known from error

    def abort(self, job_id: str) -> Ending | None:
        """See Engine.abort."""
        return self._requests.abort(job_id)

    def _prepared(self, job: Job, prompt: Any) -> Prepared:
        if job.request.priority and self._llm.scheduler_config.policy != "priority":
            raise FeatureOff("priority: this server takes requests in the order of their arrival; send 0")
        room = self._limits.context_length - len(prompt["prompt_token_ids"])
        params = translation.sampling_params(job.request, self._defaults, job.streamed, room)
        traced = self._llm.observability_config.otlp_traces_endpoint is not None
        headers = job.trace_headers if traced else None
        return Prepared(prompt, params, headers, translation.asked_tokens(job.request, self._defaults))

    async def died(self) -> None:
        """Return when the engine process is gone."""
        while not self._llm.errored:  # noqa: ASYNC110 - vLLM offers a flag and no event
            await asyncio.sleep(_DEATH_POLL_SECONDS)

    async def close(self) -> None:
        """Stop the engine process."""
        await asyncio.to_thread(self._llm.shutdown, SHUTDOWN_SECONDS)


def _described(llm: AsyncLLM, name: str) -> Model:
    tokenizer = llm.renderer.get_tokenizer()
    context_length = llm.model_config.max_model_len
    model = Model(
        name=name,
        context_length=context_length,
        vocabulary_size=llm.model_config.get_vocab_size(),
        max_concurrent_sequences=llm.vllm_config.scheduler_config.max_num_seqs,
        chat=getattr(tokenizer, "chat_template", "the tokenizer's own") is not None,
        engine="vllm",
        engine_version=vllm.__version__,
        max_prompt_bytes=context_length * tokenizer.max_chars_per_token * _MOST_BYTES_PER_CHARACTER,
    )
    model.load_time.GetCurrentTime()
    return model


def _create(arguments: AsyncEngineArgs) -> AsyncLLM:
    with children_ignore_interrupts():
        return AsyncLLM.from_engine_args(arguments)
