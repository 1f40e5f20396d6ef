"""The deterministic tokens and texts of the simulated engine: pure functions of the request."""

import hashlib
from collections.abc import Iterable

from penstock.v1.generation_pb2 import (
    FINISH_REASON_CONTEXT_LENGTH,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    Finish,
    GenerateRequest,
)

EOS = 0
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvwyz" for vowel in "aeio"]
VOCABULARY_SIZE = len(_SYLLABLES) ** 2
BYTES_PER_TOKEN = 4  # what a byte-pair tokenizer makes of English
_ONE_IN_ENDS = 256  # a sequence ends by itself after this many tokens on average


def text_of(token: int) -> str:
    """The text of a token: a space and two syllables."""
    return "" if token == EOS else f" {_SYLLABLES[token // len(_SYLLABLES)]}{_SYLLABLES[token % len(_SYLLABLES)]}"


def prompt_tokens(request: GenerateRequest) -> int:
    """How many tokens the input counts for."""
    if request.WhichOneof("input") == "token_ids":
        return len(request.token_ids.ids)
    turns = [part.text for message in request.conversation.messages for part in message.content]
    return sum(1 + len(text.encode()) // BYTES_PER_TOKEN for text in turns or [request.prompt])


class SimulatedSequence:
    """One sequence that grows by a token at each `advance`.

    Token i is a function of the input, the adapter, the seed and i alone, so that any stream can be checked without an
    engine. Sampling options other than the seed have no effect.
    """

    def __init__(self, request: GenerateRequest, context_length: int, adapter: str | None = None) -> None:
        self.prompt_tokens = prompt_tokens(request)
        room = context_length - self.prompt_tokens
        stopping = request.stopping
        asked = stopping.max_tokens if stopping.HasField("max_tokens") else room + 1
        self.max_tokens = min(asked, room)
        self.tokens = 0
        self.finish: Finish | None = None
        self._at_end = FINISH_REASON_LENGTH if asked <= room else FINISH_REASON_CONTEXT_LENGTH
        self._stopping = stopping
        self._held_back = max((len(text) for text in stopping.stop), default=1) - 1
        self._key = hashlib.sha256(_identity(request, adapter or "")).digest()
        self._searched = 0  # up to here no stop text counts
        self._new_tokens: list[int] = []
        self._text = ""
        self._sent = 0
        self._released = False

    def advance(self) -> None:
        """Generate the next token."""
        token = self._token(self.tokens)
        self.tokens += 1
        self._new_tokens.append(token)
        self._text += text_of(token)
        self.finish = self._finish(token)
        self._searched = len(self._text)

    def release(self) -> None:
        """Hold nothing back any more: the sequence ends here, finished or not."""
        self._released = True

    def take(self) -> tuple[str, list[int]]:
        """What is new since the last take. Text that may turn out to begin a stop text is held back."""
        end = len(self._text) if self.finish or self._released else max(len(self._text) - self._held_back, self._sent)
        text, tokens = self._text[self._sent : end], self._new_tokens
        self._sent, self._new_tokens = end, []
        self._forget()
        return text, tokens

    def _forget(self) -> None:
        """Drop the text that was taken, but for what a stop text may have begun in: a sequence holds little."""
        cut = max(min(self._sent, self._searched - self._held_back), 0)
        self._text, self._sent, self._searched = self._text[cut:], self._sent - cut, self._searched - cut

    def _token(self, position: int) -> int:
        digest = hashlib.blake2b(position.to_bytes(8, "big"), key=self._key, digest_size=8).digest()
        number = int.from_bytes(digest, "big")
        ends = number % _ONE_IN_ENDS == 0
        may_end = position >= self._stopping.min_tokens and not self._stopping.ignore_eos
        return EOS if ends and may_end else 1 + (number >> 8) % (VOCABULARY_SIZE - 1)

    def _finish(self, token: int) -> Finish | None:
        if self.tokens > self._stopping.min_tokens:
            if token == EOS:
                return Finish(reason=FINISH_REASON_STOP)
            if token in self._stopping.stop_token_ids:
                return Finish(reason=FINISH_REASON_STOP, stop_token_id=token)
            if stop := self._cut_at_stop(self._stopping.stop):
                return Finish(reason=FINISH_REASON_STOP, stop_text=stop)
        return Finish(reason=self._at_end) if self.tokens >= self.max_tokens else None

    def _cut_at_stop(self, stops: Iterable[str]) -> str | None:
        # Like vLLM: a stop text counts that ends in the newest token's text.
        ends = [(self._text.find(stop, max(self._searched + 1 - len(stop), 0)), stop) for stop in stops]
        found = [(at, stop) for at, stop in ends if at >= 0]
        if not found:
            return None
        at, stop = min(found)
        self._text = self._text[: at + len(stop) if self._stopping.include_stop else at]
        return stop


def _identity(request: GenerateRequest, adapter: str) -> bytes:
    identity = GenerateRequest()
    identity.CopyFrom(request)
    for field in ("sampling", "stopping", "response", "resumable", "request_id", "idempotency_key"):
        identity.ClearField(field)
    identity.model = adapter
    if request.sampling.HasField("seed"):
        identity.sampling.seed = request.sampling.seed
    return identity.SerializeToString(deterministic=True)
