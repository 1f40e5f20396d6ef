"""What every composer returns: a question, its answer, and the answer's one-word form where it has one."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class Exchange:
    question: str
    answer: str
    word: str = ""
    # A second sentence that an answer may add when nothing asks for brevity.
    more: str = ""
    # The answer repeats words of the question, so their spelling has to stay as it is.
    literal: bool = False


Composer = Callable[[Random], Exchange]
Weighted = tuple[tuple[Composer, float], ...]


def chosen(table: tuple[tuple[Choice, float], ...], rng: Random) -> Choice:
    """One of the first members, as often as the second ones say."""
    choices, weights = zip(*table, strict=True)
    choice: Choice = rng.choices(choices, weights)[0]
    return choice


def compose_from(table: Weighted, rng: Random) -> Exchange:
    return chosen(table, rng)(rng)


def a(noun: str) -> str:
    """The noun with its indefinite article: "a river", "an owl"."""
    return f"{'an' if noun[0].lower() in 'aeio' else 'a'} {noun}"


def sentence(text: str) -> str:
    """The text with a capital letter in front; the rest stays as it is ("gRPC" keeps its case inside)."""
    return text if text.startswith(("gRPC", "vLLM")) else text[:1].upper() + text[1:]


def listed(text: str) -> list[str]:
    """Words of a table that is easier to read without quotes around each of them."""
    return text.split()


def phrases(text: str) -> list[str]:
    """The same for entries of several words, with | between them."""
    return text.split("|")


def joined(items: list[str]) -> str:
    """Items as a person lists them: "a cat, a dog and a cow"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
