"""Which part of a text each of its tokens stands for, in characters (Unicode code points). Pure."""

from collections.abc import Iterator, Sequence

Span = tuple[int, int]


def of_offsets(offsets: Sequence[Span]) -> Iterator[Span]:
    """A tokenizer's offset mapping, with the tokens that it added, which are all (0, 0) there, in their places."""
    before = 0
    for start, end in offsets:
        yield (before, before) if start == end else (start, end)
        before = max(before, end)


def of_bytes(text: str, tokens: Sequence[bytes], may_be_added: Sequence[bool]) -> list[Span] | None:
    """The spans of tokens whose bytes make up `text`, or its beginning or its end; None if they do not.

    `may_be_added` tells for each token whether it can be there without being in the text.
    """
    raw = text.encode()
    for skipped in (0, len(raw) - sum(map(len, tokens))):  # the end is left of a text whose beginning was dropped
        if skipped >= 0 and (spans := _walked(raw, skipped, tokens, may_be_added)) is not None:
            return spans
    return None


def _walked(raw: bytes, at: int, tokens: Sequence[bytes], may_be_added: Sequence[bool]) -> list[Span] | None:
    spans: list[Span] = []
    begun = _characters_begun(raw[:at])
    for token, added in zip(tokens, may_be_added, strict=True):
        if token and raw.startswith(token, at):
            start = begun - 1 if _continues(token[0]) else begun
            begun += _characters_begun(token)
            at += len(token)
            spans.append((start, begun))
        elif added:
            spans.append((begun, begun))
        else:
            return None
    return spans


def _characters_begun(raw: bytes) -> int:
    return sum(not _continues(byte) for byte in raw)


def _continues(byte: int) -> bool:
    """Whether a byte of UTF-8 is not the first of its character."""
    return byte & 0xC0 == 0x80
