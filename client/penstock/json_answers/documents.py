"""Finds the JSON document in what a model wrote: after thoughts, inside tags or a fence, before further words. Pure.

Nothing here changes a document. Whatever stands around it is looked for only before its first brace, so that a string
of the document can hold anything.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

_THOUGHTS = re.compile(r"\s*<(think|thinking|thought|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
# Not the one that a string of the document ends with.
_THOUGHTS_END = re.compile(r"</(?:think|thinking|thought|reasoning)>(?=\s*[{\[`<]|\s*\n)", re.IGNORECASE)
# [CONTENT] or <json>, and then a brace or a fence: not a list such as [true].
_TAG = re.compile(r"[^{\[<`]*[\[<]([A-Za-z][A-Za-z_ -]*)[\]>](?=\s*[{\[`])")
_FENCE = re.compile(r"[^{\[]*?(```|~~~)[\w+-]*")
_OPENS = re.compile(r"[{\[]")
# Behind words: not "[sic]", nor "{name}".
_OPENS_AGAIN = re.compile(r"""[{\[](?=\s*["'{\[\]}\d-])""")
_CLOSERS = " \t\r\n,}]"


class Parsed(NamedTuple):
    """A document, whether it needed a repair, and what follows from where words after it may have another."""

    value: Any
    repaired: bool
    rest: str = ""


class SeveralDocumentsError(ValueError):
    """A document is followed by another, and nobody can tell which is meant."""


def parse(text: str) -> Any:
    """The JSON document that the whole text is, line ends inside strings included. ValueError if it is none."""
    try:
        return json.loads(text, strict=False, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None


def documents(text: str) -> list[str]:
    """What the text may hold, from the document's first brace on: up to the end of its tag or fence, and all the rest.

    The second is for a document that holds such an end itself. Empty if there is no brace.
    """
    inner = _after_thoughts(text)
    wholes = [_inside(_FENCE, _inside(_TAG, inner, cut), cut) for cut in (True, False)]
    return [each[opens.start() :].rstrip() for each in wholes if (opens := _OPENS.search(each))]


def parse_first(text: str) -> Parsed:
    """The document that the text begins with, whatever words come after it.

    Braces too many after it are dropped, as a repair. ValueError if it does not begin with one, or another follows.
    """
    decoder = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
    try:
        value, end = decoder.raw_decode(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    rest = text[end:]
    after = rest.lstrip(_CLOSERS)
    if after.startswith(("{", "[")):
        raise SeveralDocumentsError("there is more than one JSON document")
    closers = rest[: len(rest) - len(after)].strip()
    if closers and after:
        raise ValueError("there is more after the end of the JSON document")
    again = _OPENS_AGAIN.search(after)
    return Parsed(value, repaired=bool(closers), rest=after[again.start() :] if again else "")


def _after_thoughts(text: str) -> str:
    while thoughts := _THOUGHTS.match(text):
        text = text[thoughts.end() :]
    if text.lstrip().startswith(("{", "[", "`")):
        return text
    # A template can begin the thoughts itself, and then only their end is in the text.
    end = _THOUGHTS_END.search(text)
    return text[end.end() :] if end else text


def _inside(beginning: re.Pattern[str], text: str, cut: bool) -> str:
    """What follows the tag or fence that the text begins with, up to its last end if `cut`."""
    begins = beginning.match(text)
    if not begins:
        return text
    inner = text[begins.end() :]
    ends = [end.start() for end in _end_of(begins[1]).finditer(inner)] if cut else []
    return inner[: ends[-1]] if ends else inner


def _end_of(begun: str) -> re.Pattern[str]:
    fence = begun in ("```", "~~~")
    return re.compile(begun if fence else rf"[\[<]/?{re.escape(begun)}[\]>]", re.IGNORECASE)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
