"""vLLM behind the Engine protocol: AsyncLLM, whose engine core runs in a process of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import vllm.envs
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.metrics.loggers import StatLoggerFactory

from penstock.v1.generation_pb2 import EmbedRequest, GenerateChunk, GenerateRequest
from penstock_service.configuration import ConfigurationError
from penstock_service.daemon_thread import in_daemon_thread
from penstock_service.engine.base import Demand, Embedder, Ending, Job, Receiver, Tokenized
from penstock_service.engine.vllm import admission, lean_requests, processes, sampled_stats, translation
from penstock_service.engine.vllm.adapters import Adapters
from penstock_service.engine.vllm.answer_parsers import AnswerParsers, ParsedRequest
from penstock_service.engine.vllm.constraints import Constraints
from penstock_service.engine.vllm.control_calls import ControlCalls
from penstock_service.engine.vllm.controls import Controls
from penstock_service.engine.vllm.death import died
from penstock_service.engine.vllm.description import described
from penstock_service.engine.vllm.embeddings import VllmEmbedder, check_served
from penstock_service.engine.vllm.first_step import compile_first_step
from penstock_service.engine.vllm.heartbeat import Heartbeat
from penstock_service.engine.vllm.interrupts import children_ignore_interrupts
from penstock_service.engine.vllm.lean_requests import LeanRequests
from penstock_service.engine.vllm.logprobs import LogprobRecords
from penstock_service.engine.vllm.process_guard import guarded_children
from penstock_service.engine.vllm.prompts import Prompts
from penstock_service.engine.vllm.public_requests import PublicRequests
from penstock_service.engine.vllm.refusals import as_service_error, translated
from penstock_service.engine.vllm.requests import Prepared, Requests, wants_logprobs
from penstock_service.engine.vllm.sequences import Sequences
from penstock_service.engine.vllm.structured_outputs import constraint_of
from penstock_service.engine.vllm.tokenization import Tokenization
from penstock_service.engine.vllm.weights import tell_digest
from penstock_service.errors import FeatureOff, InvalidRequest, ServiceError, Violation
from penstock_service.limits import ModelLimits, check_prompt_length, check_prompt_logprobs
from penstock_service.long_conversations import is_long
from penstock_service.settings import Settings

Loggers = list[StatLoggerFactory]
Create = Callable[[AsyncEngineArgs, Loggers], AsyncLLM]

# The engine process ends its worker first; on a loaded machine that takes seconds. Then it is killed.
SHUTDOWN_SECONDS = 15.0


class VllmEngine:
    """An Engine over one AsyncLLM. `start` makes one."""

    def __init__(
        self,
        llm: AsyncLLM,
        settings: Settings,
        requests: Requests | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._llm = llm
        self._heartbeat = heartbeat or Heartbeat()
        if heartbeat is None or not llm.log_stats:
            self._heartbeat.count_outputs(llm.output_processor)
        reasoning_parser = llm.vllm_config.structured_outputs_config.reasoning_parser
        self._parsers = AnswerParsers(llm, settings.tool_parser_name, reasoning_parser)
        self.model = described(llm, settings, reasoning_parser)
        self._limits = ModelLimits.of(self.model)
        self._defaults = llm.model_config.get_diff_sampling_param()
        self._prompts = Prompts(llm, settings.media_hosts)
        self._control_calls = ControlCalls(llm)
        self._adapters = Adapters(llm, self._control_calls)
        self.max_adapters = self._adapters.most
        self.controls = Controls(llm, self._control_calls)
        self.load_adapter, self.unload_adapter = self._adapters.load, self._adapters.unload
        self._tokenization = Tokenization(llm, self._prompts)
        self._records = LogprobRecords(llm.renderer.get_tokenizer())
        self._template_arguments = frozenset(settings.template_arguments)
        self._requests = requests or (LeanRequests(llm) if lean_requests.fits() else PublicRequests(llm))
        self._several: dict[str, Sequences] = {}
        self._digest: asyncio.Task[None] | None = None
        # Without, what compiles constraints is not xgrammar, and nothing bounds it.
        fits = Constraints.fits(llm.vllm_config)
        self._constraints = Constraints(llm.vllm_config, llm.renderer.get_tokenizer()) if fits else None

    @classmethod
    async def start(cls, arguments: AsyncEngineArgs, settings: Settings, create: "Create | None" = None) -> Self:
        """Start the engine process and load the model. Raises ConfigurationError for what vLLM refuses."""
        heartbeat = Heartbeat()
        # One that is given turns statistics on.
        loggers: Loggers = [] if arguments.disable_log_stats else [heartbeat.of_engine]
        try:
            llm = await in_daemon_thread(lambda: (create or _create)(arguments, loggers))
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"vLLM refuses the model or its arguments: {error}") from error
        try:
            # vLLM looks its variables up a dozen times a request; its engine process does the same.
            vllm.envs.enable_envs_cache()
            if sampled_stats.fits():
                sampled_stats.sample(llm.output_processor)
            await check_served(llm)
            await compile_first_step(llm)
            engine = cls(llm, settings, heartbeat=heartbeat)
            if engine._constraints is not None:
                engine._constraints.warm()
            engine._digest = asyncio.create_task(tell_digest(engine.model, Path(arguments.model)), name="model digest")
            return engine
        except BaseException:
            llm.shutdown(SHUTDOWN_SECONDS)
            raise

    @property
    def running(self) -> int:
        """Generations inside the engine, waiting ones included."""
        return len(self._llm.output_processor.request_states)

    @property
    def waiting(self) -> int:
        """See Engine.waiting."""
        told = admission.waiting()
        return max(self.running - self.model.max_concurrent_sequences, 0) if told is None else told

    @property
    def steps(self) -> int:
        """See Engine.steps."""
        return self._heartbeat.steps

    @property
    def occupied(self) -> bool:
        """See Engine.occupied."""
        return self._control_calls.running > 0

    def completion_tokens(self, job_id: str) -> int:
        """See Engine.completion_tokens."""
        several = self._several.get(job_id)
        return self._requests.completion_tokens(job_id) if several is None else several.tokens

    async def prepare(self, job: Job) -> Job:
        """See Engine.prepare."""
        if not is_long(job.request):
            return job
        field = job.request.WhichOneof("input") or "input"
        with translated(field, self._llm):
            return replace(job, prompt=await self._rendered(job.request, field))

    async def submit(self, job: Job, receiver: Receiver) -> None:
        """See Engine.submit."""
        field = job.request.WhichOneof("input") or "input"
        try:
            prompt = job.prompt or await self._rendered(job.request, field)
            parsed = self._parsers.of(job.request)
            field = "sampling"  # what vLLM can still refuse
            await self._hand_over(job, self._prepared(job, prompt), parsed, receiver)
        except Exception as error:
            if (known := as_service_error(error, field, self._llm)) is None or known is error:
                raise
            raise known from error

    def abort(self, job_id: str) -> Ending | None:
        """See Engine.abort."""
        several = self._several.get(job_id)
        return self._requests.abort(job_id) if several is None else several.abort()

    async def _hand_over(self, job: Job, prepared: Prepared, parsed: ParsedRequest | None, receiver: Receiver) -> None:
        token_ids = prepared.prompt["prompt_token_ids"]
        if parsed is not None and not parsed.needed(token_ids):
            parsed = None
        if parsed is not None:
            prepared = parsed.adjust(prepared)
            made = constraint_of(prepared.params.structured_outputs)
            if self._constraints is not None and made is not None and prepared.constrained == "tools":
                await self._constraints.check_made(made, "tools")
        elif self.model.reasoning_parser and prepared.params.structured_outputs is not None:
            # All of the answer is text: the engine must not wait for the end of a thought before it constrains.
            ended = {**prepared.engine_arguments, "reasoning_ended": True}
            prepared = prepared._replace(engine_arguments=ended)
        if job.request.response.settings:
            receiver.begins(GenerateChunk(settings=translation.settings(job.request, prepared.params)))
        if parsed is None and job.request.num_sequences <= 1 and not wants_logprobs(prepared.params):
            await self._requests.add(job, prepared, receiver)
            return
        several = self._several[job.id] = Sequences(job, receiver, self._requests, self._forget)
        await several.start(prepared, partial(parsed.parser, token_ids) if parsed else None, self._records)

    async def _rendered(self, request: GenerateRequest, field: str) -> Any:
        """The prompt of a request that is as this server takes it; `field` is its input."""
        self._check_template_arguments(request)
        if self._constraints is not None and request.HasField("structured_output"):
            await self._constraints.check(request.structured_output, "structured_output")
        prompt = await self._prompts.render(request)
        tokens = len(prompt["prompt_token_ids"])
        check_prompt_length(tokens, field, self._limits)
        check_prompt_logprobs(tokens, request.response)
        return prompt

    def _forget(self, job_id: str) -> None:
        self._several.pop(job_id, None)

    def _check_template_arguments(self, request: GenerateRequest) -> None:
        for name in request.conversation.template_arguments:
            if name not in self._template_arguments:
                allowed = ", ".join(sorted(self._template_arguments)) or "none"
                field = f"conversation.template_arguments[{name}]"
                raise InvalidRequest(
                    [Violation(field, f"is not permitted by the server's operator; permitted: {allowed}")]
                )

    def _prepared(self, job: Job, prompt: Any) -> Prepared:
        if job.request.priority and self._llm.scheduler_config.policy != "priority":
            raise FeatureOff("priority: this server takes requests in the order of their arrival; send 0")
        reasoning = getattr(self._llm.vllm_config, "reasoning_config", None)
        if job.request.reasoning.HasField("max_tokens") and not (reasoning and reasoning.enabled):
            raise FeatureOff("reasoning.max_tokens: this server does not know what thoughts begin and end with")
        room = self._limits.context_length - len(prompt["prompt_token_ids"])
        params = translation.sampling_params(job.request, self._defaults, job.streamed, room)
        traced = self._llm.observability_config.otlp_traces_endpoint is not None
        headers = job.trace_headers if traced else None
        adapter = {"lora_request": self._adapters.request(job.adapter)}
        asked = translation.asked_tokens(job.request, self._defaults)
        constrained = "structured_output" if job.request.HasField("structured_output") else None
        return Prepared(prompt, params, headers, asked, adapter, constrained)

    def refusal(self, sequences: int) -> ServiceError | None:
        """See Engine.refusal."""
        return admission.refusal(self._llm, sequences)

    async def demand(self, request: GenerateRequest) -> Demand:
        """See Engine.demand."""
        field = request.WhichOneof("input") or "input"
        with translated(field, self._llm):
            prompt = await self._rendered(request, field)
        with translated("sampling", self._llm):
            asked = self._prepared(Job("", request, 0.0, streamed=False), prompt).asked_tokens
        tokens = len(prompt["prompt_token_ids"])
        room = self._limits.context_length - tokens
        return Demand(tokens, room if asked is None else min(asked, room))

    async def tokenize(self, request: GenerateRequest) -> Tokenized:
        """See Engine.tokenize."""
        self._check_template_arguments(request)
        with translated(request.WhichOneof("input") or "input", self._llm):
            return await self._tokenization.tokenized(request)

    async def detokenize(self, token_ids: Sequence[int], skip_special_tokens: bool) -> str:
        """See Engine.detokenize."""
        with translated("token_ids", self._llm):
            return await self._tokenization.detokenized(token_ids, skip_special_tokens)

    def embedder(self, request: EmbedRequest, adapter: str | None) -> Embedder:
        """See Engine.embedder."""
        return VllmEmbedder(self._llm, self._prompts, self._limits, request, self._adapters.request(adapter))

    @property
    def kv_cache_usage(self) -> float | None:
        """See Engine.kv_cache_usage."""
        return admission.kv_cache_usage()

    async def died(self) -> None:
        """Return when the engine process is gone."""
        await died(self._llm)

    def kill(self) -> None:
        """See Engine.kill."""
        processes.kill(each.pid for each in self._llm.engine_core.resources.engine_manager.processes)

    def lose(self) -> None:
        """See Engine.lose. As vLLM does when its process is gone."""
        self._llm.engine_core.resources.engine_dead = True
        self._llm.output_processor.propagate_error(EngineDeadError())

    async def close(self) -> None:
        """Stop the engine process."""
        if self._digest is not None:
            self._digest.cancel()
        if self._llm.output_handler is not None:  # it would log the engine's end as its failure
            self._llm.output_handler.cancel()
        closing: list[Awaitable[None]] = [asyncio.to_thread(self._llm.shutdown, SHUTDOWN_SECONDS)]
        if self._constraints is not None:
            closing.append(self._constraints.close())
        await asyncio.gather(*closing)


def _create(arguments: AsyncEngineArgs, loggers: Loggers) -> AsyncLLM:
    with children_ignore_interrupts(), guarded_children():
        return AsyncLLM.from_engine_args(arguments, stat_loggers=loggers)
