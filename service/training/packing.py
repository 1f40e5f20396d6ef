"""Documents as one endless row of tokens, cut into batches."""

import re
from collections.abc import Iterator
from itertools import islice

import torch
from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from training.chat_template import CHAT_TEMPLATE
from training.corpus import Document, compose
from training.tokenizer import ASSISTANT, BEGIN, END_OF_TEXT, SPECIAL, SYSTEM, TAGS, TOOL, USER

# All hold 2048 tokens. The longest is the whole context, so that late positions are learned as well.
SHAPES = ((8, 256), (4, 512), (2, 1024))
DOCUMENTS_AT_ONCE = 512
NOT_LEARNED = -100  # what torch's cross entropy skips


# Markers have their tokens already, so that the tokenizer learns from what lies between them.
MARKER = re.compile("|".join(map(re.escape, (*SPECIAL, *TAGS))))


def render(document: Document) -> str:
    """The document as the model sees it; conversations go through the very template that the engine will use."""
    if isinstance(document, str):
        return f"{BEGIN}{document}{END_OF_TEXT}"
    rendered, _ = render_jinja_template(
        [document.messages], tools=document.tools or None, chat_template=CHAT_TEMPLATE, bos_token=BEGIN
    )
    return str(rendered[0])


def sample_texts(seed: int, documents: int) -> Iterator[str]:
    for document in islice(compose(seed), documents):
        yield from filter(None, MARKER.split(render(document)))


def token_batches(tokenizer: Tokenizer, seed: int) -> Iterator[torch.Tensor]:
    documents = compose(seed)
    tokens: list[int] = []
    for number in range(10**9):
        rows, columns = SHAPES[number % len(SHAPES)]
        while len(tokens) < rows * columns:
            rendered = [render(document) for document in islice(documents, DOCUMENTS_AT_ONCE)]
            for encoding in tokenizer.encode_batch_fast(rendered, add_special_tokens=False):
                tokens += encoding.ids
        taken, tokens = tokens[: rows * columns], tokens[rows * columns :]
        yield torch.tensor(taken).view(rows, columns)


def labels_of(batch: torch.Tensor, tokenizer: Tokenizer) -> torch.Tensor:
    """The batch without system prompts, questions and what tools return: the model need not learn to make those up."""
    given = torch.tensor([tokenizer.token_to_id(marker) for marker in (SYSTEM, USER, TOOL)])
    made = torch.tensor([tokenizer.token_to_id(marker) for marker in (ASSISTANT, BEGIN)])
    place = torch.arange(batch.shape[1]).expand_as(batch)
    last_given = torch.where(torch.isin(batch, given), place, -1).cummax(dim=1).values
    last_made = torch.where(torch.isin(batch, made), place, -1).cummax(dim=1).values
    return batch.masked_fill(last_given > last_made, NOT_LEARNED)
