"""The text that the built-in model learns from: all of it composed here, from a seed.

A new kind of document is one more composer in one of the tables: CREATIVE, TASKS, FACTS ... for exchanges,
CONVERSATIONS for forms of conversation, KINDS for tools, THOUGHTFUL for thoughts, PLAIN for text without one.
"""

import re
from collections.abc import Iterator
from random import Random

from training.conversations import CONVERSATIONS, Conversation
from training.exchange import chosen
from training.plain import PLAIN
from training.thoughts import thoughtful
from training.tool_conversations import TOOL_CONVERSATIONS

Document = str | Conversation


def talk(rng: Random) -> Document:
    return Conversation(chosen(CONVERSATIONS, rng)(rng))


def plain_text(rng: Random) -> Document:
    return chosen(PLAIN, rng)(rng)


def talk_with_tools(rng: Random) -> Document:
    return chosen(TOOL_CONVERSATIONS, rng)(rng)


DOCUMENTS = ((talk, 0.56), (talk_with_tools, 0.22), (thoughtful, 0.09), (plain_text, 0.13))


def compose(seed: int) -> Iterator[Document]:
    """Documents without end; the same seed gives the same ones."""
    rng = Random(seed)  # noqa: S311 (a corpus is no secret)
    while True:
        yield chosen(DOCUMENTS, rng)(rng)


def texts(document: Document) -> list[str]:
    """What is said in the document, without what calls tools."""
    if isinstance(document, str):
        return [document]
    said = [message.get(key) for message in document.messages for key in ("reasoning", "content")]
    return [text for text in said if text]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", text.lower())
