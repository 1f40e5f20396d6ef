"""vLLM behind the Engine protocol: AsyncLLM, whose engine core runs in a process of its own."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import vllm
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.inputs import TokensPrompt
from vllm.outputs import RequestOutput
from vllm.renderers.inputs.preprocess import parse_model_prompt
from vllm.renderers.params import ChatParams
from vllm.sampling_params import SamplingParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest
from penstock.v1.models_pb2 import Model
from penstock_service.configuration import ConfigurationError
from penstock_service.daemon_thread import in_daemon_thread
from penstock_service.engine.base import Generation
from penstock_service.engine.chunks import ChunkSequence
from penstock_service.engine.vllm import translation
from penstock_service.engine.vllm.interrupts import children_ignore_interrupts
from penstock_service.engine.vllm.refusals import QUEUE_FULL, REFUSED
from penstock_service.errors import InvalidRequest, Overloaded, Unavailable, Violation
from penstock_service.limits import ModelLimits, check_prompt_length

# How often vLLM is asked whether its engine process is still there; it learns that from the process's sentinel.
_DEATH_POLL_SECONDS = 1.0
# vLLM's own sentences can repeat what the caller sent; error details share 8 KiB of metadata.
_MOST_REFUSAL_CHARACTERS = 256
# The engine process ends its worker first; on a loaded machine that takes seconds. Then it is killed.
_SHUTDOWN_SECONDS = 15.0
# A character of a tokenizer's vocabulary stands for at most this many bytes of UTF-8.
_MOST_BYTES_PER_CHARACTER = 4


class VllmEngine:
    """An Engine over one AsyncLLM. `start` makes one."""

    def __init__(self, llm: AsyncLLM, name: str) -> None:
        self._llm = llm
        self.model = _described(llm, name)
        self._limits = ModelLimits.of(self.model)
        self._defaults = llm.model_config.get_diff_sampling_param()
        # Our own check answers for the length, with the contract's reason.
        self._tokenize_prompt = dataclasses.replace(llm.renderer.default_cmpl_tok_params, max_total_tokens=None)
        self._tokenize_chat = dataclasses.replace(llm.renderer.default_chat_tok_params, max_total_tokens=None)

    @classmethod
    async def start(cls, arguments: AsyncEngineArgs, name: str) -> "VllmEngine":
        """Start the engine process and load the model. Raises ConfigurationError for what vLLM refuses."""
        try:
            llm = await in_daemon_thread(lambda: _create(arguments))
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"vLLM refuses the model or its arguments: {error}") from error
        try:
            return cls(llm, name)
        except BaseException:
            llm.shutdown(_SHUTDOWN_SECONDS)
            raise

    @property
    def running(self) -> int:
        """Generations inside the engine, waiting ones included."""
        return len(self._llm.output_processor.request_states)

    async def generate(self, generation: Generation) -> AsyncGenerator[GenerateChunk, None]:
        """See Engine.generate."""
        field = generation.request.WhichOneof("input")
        try:
            prompt = await self._render(generation.request)
            field = "sampling"  # what vLLM can still refuse
            # AsyncLLM aborts the request in its engine when its generator is closed or cancelled.
            async with aclosing(self._outputs(generation, prompt)) as outputs:
                async with aclosing(self._chunks(generation, outputs)) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except EngineDeadError as error:
            raise Unavailable("ENGINE_DEAD") from error
        except REFUSED as error:
            raise InvalidRequest([Violation(field, str(error.args[0])[:_MOST_REFUSAL_CHARACTERS])]) from error
        except QUEUE_FULL as error:
            raise Overloaded from error

    async def died(self) -> None:
        """Return when the engine process is gone."""
        while not self._llm.errored:  # noqa: ASYNC110 - vLLM offers a flag and no event
            await asyncio.sleep(_DEATH_POLL_SECONDS)

    async def close(self) -> None:
        """Stop the engine process."""
        await asyncio.to_thread(self._llm.shutdown, _SHUTDOWN_SECONDS)

    def _outputs(self, generation: Generation, prompt: Any) -> AsyncGenerator[RequestOutput, None]:
        room = self._limits.context_length - len(prompt["prompt_token_ids"])
        params: SamplingParams = translation.sampling_params(
            generation.request, self._defaults, generation.streamed, room
        )
        traced = self._llm.observability_config.otlp_traces_endpoint is not None
        headers = generation.trace_headers if traced else None
        return self._llm.generate(prompt, params, generation.id, trace_headers=headers)

    async def _chunks(
        self, generation: Generation, outputs: AsyncGenerator[RequestOutput, None]
    ) -> AsyncGenerator[GenerateChunk, None]:
        chunks = ChunkSequence(generation, self.model.name)
        asked = translation.asked_tokens(generation.request, self._defaults)
        tokens, first_seen = 0, 0.0
        async for output in outputs:
            sequence = output.outputs[0]
            tokens += len(sequence.token_ids)
            first_seen = first_seen or time.monotonic()
            if sequence.finish_reason is None:
                yield chunks.next(sequence.text, sequence.token_ids)
                continue
            finish = translation.finish(sequence, asked, tokens)
            usage = translation.usage(output, tokens)
            timings = translation.timings(output, generation.received, first_seen, time.monotonic(), tokens)
            yield chunks.last(sequence.text, sequence.token_ids, finish, usage, timings)

    async def _render(self, request: GenerateRequest) -> Any:
        """Tokens for the engine. Templates and tokenizers run in the renderer's threads, off the event loop."""
        renderer = self._llm.renderer
        field = request.WhichOneof("input")
        if field == "conversation":
            params = ChatParams(chat_template_kwargs={"add_generation_prompt": True})
            messages = translation.chat_messages(request.conversation)
            _, (prompt,) = await renderer.render_chat_async([messages], params, self._tokenize_chat)
        else:
            given = request.prompt if field == "prompt" else TokensPrompt(prompt_token_ids=list(request.token_ids.ids))
            parsed = parse_model_prompt(self._llm.model_config, given)
            (prompt,) = await renderer.render_cmpl_async([parsed], self._tokenize_prompt)
        check_prompt_length(len(prompt["prompt_token_ids"]), field, self._limits)
        return prompt


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
