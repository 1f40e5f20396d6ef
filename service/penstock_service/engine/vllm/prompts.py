"""Turns a request's input into tokens: hot ones from a cache, short texts at once, others in the renderer's threads."""

import asyncio
import dataclasses
import datetime
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from vllm.inputs import TokensPrompt
from vllm.renderers.inputs.preprocess import parse_model_prompt
from vllm.renderers.params import ChatParams, TokenizeParams
from vllm.v1.engine.async_llm import AsyncLLM

from penstock.v1.generation_pb2 import TRUNCATION_SIDE_RIGHT, GenerateRequest, PromptOptions
from penstock_service.cache_salts import CacheSalts, new_secret
from penstock_service.engine.vllm.conversations import chat_messages, template_arguments
from penstock_service.engine.vllm.media import Media, refusing_media
from penstock_service.engine.vllm.placeholders import placeholders
from penstock_service.engine.vllm.special_tokens import Hidden, SpecialTokens
from penstock_service.long_conversations import is_long, off_loop
from penstock_service.media_limits import media_parts
from penstock_service.tenant import caller

# A thread's round trip costs the event loop about 150 us; a text of this size is tokenized in less.
_SHORT_TEXT_CHARACTERS = 512
# A list of tokens costs about 36 bytes a token: 9 MiB, and what the entries weigh themselves.
_MOST_CACHED_TOKENS = 1 << 18
_MOST_CACHED_PROMPTS = 4096

_CacheKey = tuple[str, bytes]


class Prompts:
    """The renderer of one AsyncLLM, with a cache."""

    def __init__(self, llm: AsyncLLM, media_hosts: Collection[str] = ()) -> None:
        self._renderer = llm.renderer
        self._model_config = llm.model_config
        self._special = SpecialTokens(llm.renderer.get_tokenizer(), placeholders(llm.model_config))
        self._media = Media.of(media_hosts)
        self._takes_media = llm.renderer.mm_processor is not None
        # The service's own check answers for the length, with the contract's reason.
        self._for_prompts = dataclasses.replace(llm.renderer.default_cmpl_tok_params, max_total_tokens=None)
        self._for_chat = dataclasses.replace(
            llm.renderer.default_chat_tok_params, max_total_tokens=None, add_special_tokens=False
        )
        self._cache = _Cache()
        self.salts = CacheSalts(new_secret())

    async def render(self, request: GenerateRequest) -> Any:
        """vLLM's EngineInput for the request's input."""
        if request.WhichOneof("input") == "token_ids":
            found = self._rendered(list(request.token_ids.ids), request.prompt_options)
        elif await self._has_media(request):
            found = await self._with_media(request)  # too large to keep
        else:
            key = (caller.get().name, _key(request))  # how long it takes tells nothing of other tenants
            found = self._cache.get(key)
            if found is None:
                found = await self._tokenized(request)
                self._cache.put(key, found)
        # A copy: vLLM adds to what it is given.
        prompt = {**found, "arrival_time": time.time()}
        if salt := self.salts.of(caller.get(), request.cache_salt):
            prompt["cache_salt"] = salt
        return prompt

    async def text_of(self, request: GenerateRequest) -> str:
        """What the chat template makes of the request's conversation; of a prompt, the prompt."""
        if request.WhichOneof("input") != "conversation":
            return request.prompt
        rendered, hidden = await self._template(request, keep=False)
        return hidden.shown(rendered)

    async def _has_media(self, request: GenerateRequest) -> bool:
        if not self._takes_media:  # and has refused them
            return False
        look = partial(_any_media, request)
        return await off_loop(request, look) if is_long(request) else look()

    async def _tokenized(self, request: GenerateRequest) -> Any:
        if request.WhichOneof("input") == "conversation":
            return await self._tokenized_conversation(request)
        text, options = request.prompt, request.prompt_options
        if not options.parse_special_tokens and self._special.within(text):
            adds = options.add_special_tokens if options.HasField("add_special_tokens") else True
            return self._rendered(await _off_loop(text, self._special.encode, text, adds), options)
        if len(text) <= _SHORT_TEXT_CHARACTERS:
            return self._rendered(text, options)
        parsed = parse_model_prompt(self._model_config, text)
        (prompt,) = await self._renderer.render_cmpl_async([parsed], _with(self._for_prompts, options))
        return prompt

    async def _tokenized_conversation(self, request: GenerateRequest) -> Any:
        if is_long(request):
            return await off_loop(request, partial(self._tokenized_at_once, request))
        messages, hidden = self._messages(request, request.prompt_options.parse_special_tokens)
        if hidden:
            rendered = _text(await self._renderer.render_messages_async(messages, _as_text(request)))
            return self._rendered(await _off_loop(rendered, hidden.encode, rendered), request.prompt_options)
        _, (prompt,) = await self._renderer.render_chat_async([messages], *self._as_tokens(request))
        return prompt

    def _tokenized_at_once(self, request: GenerateRequest) -> Any:
        """The same for a thread: vLLM's renderer looks at each message on the event loop otherwise.

        VLLM_CHAT_TEMPLATE_RENDER_TIMEOUT does not hold here: a template that never ends holds up all that are long.
        """
        messages, hidden = self._messages(request, request.prompt_options.parse_special_tokens)
        if hidden:
            rendered = _text(self._renderer.render_messages(messages, _as_text(request)))
            return self._rendered(hidden.encode(rendered), request.prompt_options)
        _, (prompt,) = self._renderer.render_chat([messages], *self._as_tokens(request))
        return prompt

    async def _with_media(self, request: GenerateRequest) -> Any:
        rendered, hidden = await self._template(request, request.prompt_options.parse_special_tokens)
        token_ids = await _off_loop(rendered, hidden.encode, rendered)
        async with self._media.decoded(request.conversation) as media:
            prompt = TokensPrompt(prompt_token_ids=token_ids, multi_modal_data=dict(media))
            parsed = parse_model_prompt(self._model_config, prompt)
            with refusing_media():
                # Without the cache that vLLM's front end and engine keep alike: they would differ, and the engine fail,
                # after a prompt that is rendered and not sent (Estimate, Tokenize, one that is too long).
                (made,) = await self._renderer.render_cmpl_async([parsed], self._for_chat, skip_mm_cache=True)
        return made

    async def _template(self, request: GenerateRequest, keep: bool) -> tuple[str, Hidden]:
        """What the chat template makes of the conversation, and what is hidden in it; `keep` leaves all as it is."""
        if is_long(request):
            return await off_loop(request, partial(self._template_at_once, request, keep))
        messages, hidden = self._messages(request, keep)
        return _text(await self._renderer.render_messages_async(messages, _as_text(request))), hidden

    def _template_at_once(self, request: GenerateRequest, keep: bool) -> tuple[str, Hidden]:
        messages, hidden = self._messages(request, keep)
        return _text(self._renderer.render_messages(messages, _as_text(request))), hidden

    def _messages(self, request: GenerateRequest, keep: bool) -> tuple[list[Any], Hidden]:
        hidden = self._special.hiding()
        return chat_messages(request.conversation, None if keep else hidden), hidden

    def _as_tokens(self, request: GenerateRequest) -> tuple[ChatParams, TokenizeParams]:
        # What a conversation begins with is its template's matter.
        for_chat = _truncating(self._for_chat, request.prompt_options)
        return ChatParams(chat_template_kwargs=template_arguments(request)), for_chat

    def _rendered(self, given: str | list[int], options: PromptOptions) -> Any:
        given_prompt = given if isinstance(given, str) else TokensPrompt(prompt_token_ids=_cut(given, options))
        parsed = parse_model_prompt(self._model_config, given_prompt)
        (prompt,) = self._renderer.render_cmpl([parsed], _with(self._for_prompts, options))
        return prompt


class _Cache:
    """The prompts used last, by their tenant and the hash of their text."""

    def __init__(self) -> None:
        self._prompts: OrderedDict[_CacheKey, Any] = OrderedDict()
        self._tokens = 0

    def get(self, key: _CacheKey) -> Any | None:
        prompt = self._prompts.get(key)
        if prompt is not None:
            self._prompts.move_to_end(key)
        return prompt

    def put(self, key: _CacheKey, prompt: Any) -> None:
        if key in self._prompts:
            return
        self._prompts[key] = prompt
        self._tokens += len(prompt["prompt_token_ids"])
        while self._tokens > _MOST_CACHED_TOKENS or len(self._prompts) > _MOST_CACHED_PROMPTS:
            _, oldest = self._prompts.popitem(last=False)
            self._tokens -= len(oldest["prompt_token_ids"])


def _any_media(request: GenerateRequest) -> bool:
    return any(media_parts(request.conversation))


def _as_text(request: GenerateRequest) -> ChatParams:
    return ChatParams(chat_template_kwargs={**template_arguments(request), "tokenize": False})


def _text(rendered: Any) -> str:
    """Of a conversation and its prompt, as vLLM's renderer gives them."""
    _, prompt = rendered
    return str(prompt["prompt"])


async def _off_loop(text: str, encode: Callable[..., list[int]], *arguments: object) -> list[int]:
    """Encode `text` here if it is short; vLLM's renderer lends its tokenizer to several threads."""
    if len(text) <= _SHORT_TEXT_CHARACTERS:
        return encode(*arguments)
    return await asyncio.to_thread(encode, *arguments)


def _key(request: GenerateRequest) -> bytes:
    if request.WhichOneof("input") == "prompt":
        options = request.prompt_options.SerializeToString() if request.HasField("prompt_options") else b""
        # Unknown fields can make the options longer than a key may be.
        key = hashlib.blake2b(options, digest_size=32).digest() if options else b""
        return hashlib.blake2b(request.prompt.encode(), digest_size=16, key=key).digest()
    shapes = GenerateRequest(
        conversation=request.conversation,
        tools=request.tools,
        tool_choice=request.tool_choice,
        reasoning=request.reasoning,
        prompt_options=request.prompt_options,
    )
    # Templates can tell the model what day it is.
    today = datetime.date.today().isoformat().encode()
    return hashlib.blake2b(shapes.SerializeToString(deterministic=True), digest_size=16, person=today).digest()


def _with(params: TokenizeParams, options: PromptOptions) -> TokenizeParams:
    if options.HasField("add_special_tokens"):
        params = dataclasses.replace(params, add_special_tokens=options.add_special_tokens)
    return _truncating(params, options)


def _truncating(params: TokenizeParams, options: PromptOptions) -> TokenizeParams:
    if not options.HasField("truncate_tokens"):
        return params
    most: Any = {"truncate_prompt_tokens": options.truncate_tokens, "truncation_side": _side(options)}
    return dataclasses.replace(params, **most)


def _cut(token_ids: list[int], options: PromptOptions) -> list[int]:
    if not options.HasField("truncate_tokens"):
        return token_ids
    most = options.truncate_tokens
    return token_ids[:most] if _side(options) == "right" else token_ids[-most:]


def _side(options: PromptOptions) -> str:
    return "right" if options.truncation_side == TRUNCATION_SIDE_RIGHT else "left"
