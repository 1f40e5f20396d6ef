"""Turns a request's input into tokens: hot ones from a cache, short texts at once, others in the renderer's threads."""

import dataclasses
import datetime
import hashlib
import time
from collections import OrderedDict
from typing import Any

from vllm.inputs import TokensPrompt
from vllm.renderers.inputs.preprocess import parse_model_prompt
from vllm.renderers.params import ChatParams
from vllm.v1.engine.async_llm import AsyncLLM

from penstock.v1.generation_pb2 import GenerateRequest
from penstock_service.engine.vllm import translation

# A thread's round trip costs the event loop about 150 us; a text of this size is tokenized in less.
_SHORT_TEXT_CHARACTERS = 512
# A list of tokens costs about 36 bytes a token: 9 MiB, and what the entries weigh themselves.
_MOST_CACHED_TOKENS = 1 << 18
_MOST_CACHED_PROMPTS = 4096


class Prompts:
    """The renderer of one AsyncLLM, with a cache."""

    def __init__(self, llm: AsyncLLM) -> None:
        self._renderer = llm.renderer
        self._model_config = llm.model_config
        # The service's own check answers for the length, with the contract's reason.
        self._for_prompts = dataclasses.replace(llm.renderer.default_cmpl_tok_params, max_total_tokens=None)
        self._for_chat = dataclasses.replace(llm.renderer.default_chat_tok_params, max_total_tokens=None)
        self._cache = _Cache()

    async def render(self, request: GenerateRequest) -> Any:
        """vLLM's EngineInput for the request's input."""
        if request.WhichOneof("input") == "token_ids":
            return self._rendered(TokensPrompt(prompt_token_ids=list(request.token_ids.ids)))
        key = _key(request)
        found = self._cache.get(key)
        if found is None:
            found = await self._tokenized(request)
            self._cache.put(key, found)
        # A copy: vLLM adds to what it is given.
        return {**found, "arrival_time": time.time()}

    async def _tokenized(self, request: GenerateRequest) -> Any:
        if request.WhichOneof("input") == "conversation":
            params = ChatParams(chat_template_kwargs={"add_generation_prompt": True})
            messages = translation.chat_messages(request.conversation)
            _, (prompt,) = await self._renderer.render_chat_async([messages], params, self._for_chat)
            return prompt
        if len(request.prompt) <= _SHORT_TEXT_CHARACTERS:
            return self._rendered(request.prompt)
        parsed = parse_model_prompt(self._model_config, request.prompt)
        (prompt,) = await self._renderer.render_cmpl_async([parsed], self._for_prompts)
        return prompt

    def _rendered(self, given: str | TokensPrompt) -> Any:
        (prompt,) = self._renderer.render_cmpl([parse_model_prompt(self._model_config, given)], self._for_prompts)
        return prompt


class _Cache:
    """The prompts used last, by the hash of their text."""

    def __init__(self) -> None:
        self._prompts: OrderedDict[bytes, Any] = OrderedDict()
        self._tokens = 0

    def get(self, key: bytes) -> Any | None:
        prompt = self._prompts.get(key)
        if prompt is not None:
            self._prompts.move_to_end(key)
        return prompt

    def put(self, key: bytes, prompt: Any) -> None:
        if key in self._prompts:
            return
        self._prompts[key] = prompt
        self._tokens += len(prompt["prompt_token_ids"])
        while self._tokens > _MOST_CACHED_TOKENS or len(self._prompts) > _MOST_CACHED_PROMPTS:
            _, oldest = self._prompts.popitem(last=False)
            self._tokens -= len(oldest["prompt_token_ids"])


def _key(request: GenerateRequest) -> bytes:
    if request.WhichOneof("input") == "prompt":
        return hashlib.blake2b(request.prompt.encode(), digest_size=16).digest()
    conversation = request.conversation.SerializeToString(deterministic=True)
    # Templates can tell the model what day it is.
    today = datetime.date.today().isoformat().encode()
    return hashlib.blake2b(conversation, digest_size=16, person=today).digest()
