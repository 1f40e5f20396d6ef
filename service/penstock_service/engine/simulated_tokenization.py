"""The tokens of texts by the rule of the simulated engine: every four bytes are one, and what is left is the last.

They number what `simulated_text.prompt_tokens` counts. There are more texts of four bytes than tokens, so that a text
does not come back from its tokens; what the engine itself generated does.
"""

import hashlib
from collections.abc import Iterable, Iterator

from penstock.v1.generation_pb2 import GenerateRequest
from penstock_service.engine.base import Tokenized
from penstock_service.engine.simulated_text import BYTES_PER_TOKEN, EOS, VOCABULARY_SIZE, text_of

_EOS_TEXT = "<eos>"


def tokenized(request: GenerateRequest) -> Tokenized:
    """The tokens of the request's text or conversation, whose template adds nothing."""
    turns = [part.text for message in request.conversation.messages for part in message.content]
    token_ids: list[int] = []
    spans: list[tuple[int, int]] = []
    text = ""
    for turn in turns or [request.prompt]:
        for token, start, end in _pieces(turn):
            token_ids.append(token)
            spans.append((len(text) + start, len(text) + end))
        text += turn
    return Tokenized(token_ids, spans, text)


def detokenized(token_ids: Iterable[int], skip_special_tokens: bool) -> str:
    """The text that the engine would have generated with these tokens."""
    special = "" if skip_special_tokens else _EOS_TEXT
    return "".join(special if token == EOS else text_of(token) for token in token_ids)


def _pieces(text: str) -> Iterator[tuple[int, int, int]]:
    """Each token, and the characters that its bytes are parts of."""
    raw = text.encode()
    characters = [position for position, character in enumerate(text) for _ in character.encode()]
    for first in range(0, len(raw) + 1, BYTES_PER_TOKEN):
        last = min(first + BYTES_PER_TOKEN, len(raw))
        start = characters[first] if first < len(raw) else len(text)
        end = characters[last - 1] + 1 if last > first else start
        yield _token(raw[first:last]), start, end


def _token(piece: bytes) -> int:
    digest = hashlib.blake2b(piece, digest_size=8).digest()
    return 1 + int.from_bytes(digest, "big") % (VOCABULARY_SIZE - 1)
