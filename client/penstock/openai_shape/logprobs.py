"""From the contract's token records to OpenAI's log probabilities. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.openai_shape.logprob_types import ChoiceLogprobs, CompletionLogprobs, TokenLogprob, TopLogprob
from penstock.v1.generation_pb2 import TokenInfo

# OpenAI's and vLLM's number for "next to impossible"; JSON has no infinity.
LEAST_LOGPROB = -9999.0


def chat_logprobs(tokens: Sequence[TokenInfo]) -> ChoiceLogprobs | None:
    """The tokens of a chat answer or of a piece of one; None if there are none."""
    return ChoiceLogprobs([_token(token) for token in tokens]) if tokens else None


def _token(token: TokenInfo) -> TokenLogprob:
    likeliest = [TopLogprob(each.text, list(each.token_bytes), _finite(each.logprob)) for each in token.candidates]
    return TokenLogprob(token.text, list(token.token_bytes), _finite(token.logprob), likeliest)


class CompletionTokens:
    """The tokens of one continuation, piece by piece: it counts the characters, for the offsets."""

    def __init__(self) -> None:
        self._characters = 0

    def logprobs(self, tokens: Sequence[TokenInfo]) -> CompletionLogprobs | None:
        """The next tokens; None if there are none."""
        if not tokens:
            return None
        likeliest = [{each.text: _finite(each.logprob) for each in token.candidates} for token in tokens]
        return CompletionLogprobs(
            text_offset=[self._offset(token.token_bytes) for token in tokens],
            token_logprobs=[_finite(token.logprob) for token in tokens],
            tokens=[token.text for token in tokens],
            top_logprobs=likeliest if any(likeliest) else None,
        )

    def _offset(self, text: bytes) -> int:
        """Where the character is that the token begins or, if it begins inside of one, goes on with."""
        inside = bool(text) and not _begins_character(text[0]) and self._characters > 0
        offset = self._characters - inside
        self._characters += sum(map(_begins_character, text))
        return offset


def _begins_character(byte: int) -> bool:
    return byte & 0xC0 != 0x80  # UTF-8


def _finite(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)
