"""Tokenizes text in which special tokens are only text, so that what users type cannot end or begin a turn."""

import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any

# More than any special token has.
_MOST_TOKEN_CHARACTERS = 128
# Some tokenizers have runs of spaces and the like as added tokens, which text must keep.
_TAG = re.compile(r"<.*>|\[.*\]", re.DOTALL)


class SpecialTokens:
    """The special tokens of a tokenizer, and further texts that are to be no more than text."""

    def __init__(self, tokenizer: Any, others: Iterable[str] = ()) -> None:
        self._tokenizer = tokenizer
        control = _control_texts(tokenizer).union(others)
        self._control = _any_of(control)
        self._pattern = _any_of(control | _tags(tokenizer))

    def within(self, text: str) -> bool:
        """Whether `text` has any."""
        return self._pattern is not None and self._pattern.search(text) is not None

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """The tokens of a text without special ones, but for those that the tokenizer adds."""
        before, after = self._added() if add_special_tokens else ([], [])
        return [*before, *self._plain(text), *after]

    def hiding(self) -> "Hidden":
        """Take special tokens out of texts for a template, which must not see them."""
        return Hidden(self._pattern, self._control, self._plain, self._encode)

    def _plain(self, text: str) -> list[int]:
        return [token for piece in self._pieces(text) for token in self._encode(piece)]

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _pieces(self, text: str) -> list[str]:
        """Cut behind the first character of each special token, so that no piece has one."""
        pieces, start = [], 0
        while self._pattern is not None and (found := self._pattern.search(text, start)) is not None:
            cut = found.start() + 1
            pieces.append(text[start:cut])
            start = cut
        return [*pieces, text[start:]] if start < len(text) or not pieces else pieces

    def _added(self) -> tuple[list[int], list[int]]:
        core = self._encode("a")
        whole = list(self._tokenizer.encode("a"))
        for start in range(len(whole) - len(core) + 1):
            if whole[start : start + len(core)] == core:
                return whole[:start], whole[start + len(core) :]
        return [], []


class Hidden:
    """Special tokens of one prompt, taken out of its texts and put back as text after the template."""

    def __init__(
        self,
        pattern: re.Pattern[str] | None,
        control: re.Pattern[str] | None,
        plain: Callable[[str], list[int]],
        encode: Callable[[str], list[int]],
    ) -> None:
        self._pattern = pattern
        self._control = control
        self._plain = plain
        self._encode = encode
        self._hidden: list[str] = []
        # From Unicode's private use area, and not to be guessed.
        self._mark = f"\ue000{secrets.token_hex(8)}:"

    def __bool__(self) -> bool:
        return bool(self._hidden)

    def hide(self, text: str) -> str:
        """The text with a mark for each special token."""
        return self._pattern.sub(self._marked, text) if self._pattern is not None else text

    def hide_control(self, text: str) -> str:
        """The same for the model's own turns, whose tags (`<think>` and the like) templates look for."""
        return self._control.sub(self._marked, text) if self._control is not None else text

    def hide_parts(self, texts: Iterable[str]) -> list[str]:
        """The texts with marks; templates may join them, and no special token must come about between two."""
        shown, before = [], ""
        for text in texts:
            joins = self._joins(before, text)
            shown.append(self._mark_of(text[0]) + self.hide(text[1:]) if joins else self.hide(text))
            before = (before + text)[-_MOST_TOKEN_CHARACTERS:]
        return shown

    def encode(self, rendered: str) -> list[int]:
        """The tokens of what the template made: its own special tokens count, hidden ones are text."""
        tokens: list[int] = []
        for position, piece in enumerate(re.split(f"{self._mark}([0-9]+)\ue001", rendered)):
            tokens += self._plain(self._hidden[int(piece)]) if position % 2 else self._encode(piece)
        return tokens

    def shown(self, rendered: str) -> str:
        """What the template made, with the texts back in their places."""
        return re.sub(f"{self._mark}([0-9]+)\ue001", lambda found: self._hidden[int(found[1])], rendered)

    def _joins(self, before: str, text: str) -> bool:
        if self._pattern is None or not text:
            return False
        joined = before + text[:_MOST_TOKEN_CHARACTERS]
        found = (self._pattern.match(joined, start) for start in range(len(before)))
        return any(match is not None and match.end() > len(before) for match in found)

    def _marked(self, found: re.Match[str]) -> str:
        return self._mark_of(found[0])

    def _mark_of(self, text: str) -> str:
        self._hidden.append(text)
        return f"{self._mark}{len(self._hidden) - 1}\ue001"


def _control_texts(tokenizer: Any) -> set[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return {token.content for token in added if token.special} | set(getattr(tokenizer, "all_special_tokens", ()))


def _tags(tokenizer: Any) -> set[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return {token.content for token in added if _TAG.fullmatch(token.content)}


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(filter(None, texts), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
