"""The tokens of texts and the texts of tokens, with the part of the text that each token stands for."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from vllm.v1.engine.async_llm import AsyncLLM

from penstock.v1.generation_pb2 import GenerateRequest
from penstock_service.engine.base import Tokenized
from penstock_service.engine.vllm import spans
from penstock_service.engine.vllm.prompts import Prompts
from penstock_service.engine.vllm.token_bytes import TokenBytes

Result = TypeVar("Result")


class Tokenization:
    """The tokenizer of one AsyncLLM, used off the event loop: its texts can be long."""

    def __init__(self, llm: AsyncLLM, prompts: Prompts) -> None:
        self._tokenizer: Any = llm.renderer.get_tokenizer()
        self._prompts = prompts
        self._bytes = TokenBytes(self._tokenizer)
        self._special = frozenset(getattr(self._tokenizer, "all_special_ids", ()))
        # vLLM makes a copy of its tokenizer for each use at a time, and one with a large vocabulary weighs 100 MB.
        self._turn = asyncio.Lock()

    async def tokenized(self, request: GenerateRequest) -> Tokenized:
        """The tokens that Generate would read. Raises what vLLM raises."""
        prompt = await self._prompts.render(request)
        token_ids: list[int] = prompt["prompt_token_ids"]
        text = await self._prompts.text_of(request)
        return Tokenized(token_ids, await self._in_turn(lambda: self._spans(text, token_ids)), text)

    async def detokenized(self, token_ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The text of tokens."""
        ids = list(token_ids)
        return await self._in_turn(lambda: str(self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)))

    async def _in_turn(self, work: Callable[[], Result]) -> Result:
        async with self._turn:
            return await asyncio.to_thread(work)

    def _spans(self, text: str, token_ids: list[int]) -> Sequence[spans.Span]:
        """The spans of the tokens; none if the tokenizer does not tell."""
        if not getattr(self._tokenizer, "is_fast", False):
            return ()
        for added in (True, False):
            encoding = self._tokenizer(text, add_special_tokens=added, return_offsets_mapping=True)
            if (kept := _kept(encoding["input_ids"], token_ids)) is not None:
                return list(spans.of_offsets(encoding["offset_mapping"]))[kept]
        # Special tokens that are only text here: the tokenizer alone would read them otherwise.
        may_be_added = [token in self._special for token in token_ids]
        return spans.of_bytes(text, [self._bytes.of(token) for token in token_ids], may_be_added) or ()


def _kept(all_ids: list[int], kept_ids: list[int]) -> slice | None:
    """Which of the tokens were kept, if those are the first or the last ones."""
    count = len(kept_ids)
    for kept in (slice(0, count), slice(max(len(all_ids) - count, 0), len(all_ids))):
        if all_ids[kept] == kept_ids:
            return kept
    return None
