"""The text that the built-in model learns from: all of it composed here, from a seed.

A new kind of document is one more composer in one of the tables: CREATIVE, TASKS, FACTS ... for exchanges,
CONVERSATIONS for forms of conversation, PLAIN for text without one.
"""

import re
from collections.abc import Iterator
from random import Random

from training.conversations import CONVERSATIONS, Message
from training.plain import PLAIN

Document = str | list[Message]
SHARE_OF_CONVERSATIONS = 0.8


def compose_document(rng: Random) -> Document:
    table = CONVERSATIONS if rng.random() < SHARE_OF_CONVERSATIONS else PLAIN
    composers, weights = zip(*table, strict=True)
    document: Document = rng.choices(composers, weights)[0](rng)
    return document


def compose(seed: int) -> Iterator[Document]:
    """Documents without end; the same seed gives the same ones."""
    rng = Random(seed)  # noqa: S311 (a corpus is no secret)
    while True:
        yield compose_document(rng)


def texts(document: Document) -> list[str]:
    return [document] if isinstance(document, str) else [message["content"] for message in document]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", text.lower())
