"""The bytes that each token stands for, exactly: decoding a token alone loses what is a part of a character."""

import re
from functools import cache
from typing import Any

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
# SentencePiece writes a space so.
_SPACE = "\u2581"


class TokenBytes:
    """Bytes by token id, for the tokenizer of one model."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = {token_id: token.content for token_id, token in _added_tokens(tokenizer).items()}
        self._known: dict[int, bytes] = {}
        decoder = str(getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", ""))
        self._byte_level = "ByteLevel" in decoder
        self._byte_fallback = "ByteFallback" in decoder

    def of(self, token_id: int) -> bytes:
        """The token's bytes of UTF-8."""
        found = self._known.get(token_id)
        if found is None:
            found = self._known[token_id] = self._bytes(token_id)
        return found

    def _bytes(self, token_id: int) -> bytes:
        if (content := self._added.get(token_id)) is not None:
            return str(content).encode()
        token: str | None = self._tokenizer.convert_ids_to_tokens(token_id)
        if token is None:  # vocabularies can be padded
            return b""
        if self._byte_level:
            return bytes(_byte_level_alphabet()[character] for character in token)
        if self._byte_fallback and (found := _BYTE_TOKEN.fullmatch(token)):
            return bytes([int(found[1], 16)])
        if self._byte_fallback:
            return token.replace(_SPACE, " ").encode()
        return str(self._tokenizer.decode([token_id])).encode()


def _added_tokens(tokenizer: Any) -> dict[int, Any]:
    return dict(getattr(tokenizer, "added_tokens_decoder", {}))


@cache
def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's: printable bytes stand for themselves, the others for the characters from U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
