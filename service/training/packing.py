"""Documents as one endless row of tokens, cut into batches."""

from collections.abc import Iterator
from itertools import islice

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from training.corpus import Document, compose, texts
from training.tokenizer import ASSISTANT, BEGIN, END_OF_TEXT, SYSTEM, USER, tokenizer_config

# All hold 2048 tokens. The longest is the whole context, so that late positions are learned as well.
SHAPES = ((8, 256), (4, 512), (2, 1024))
DOCUMENTS_AT_ONCE = 512
NOT_LEARNED = -100  # what torch's cross entropy skips


def sample_texts(seed: int, documents: int) -> Iterator[str]:
    for document in islice(compose(seed), documents):
        yield from texts(document)


def render(document: Document, chat: PreTrainedTokenizerFast) -> str:
    """The document as the model sees it; conversations go through the very template that the engine will use."""
    if isinstance(document, str):
        return f"{BEGIN}{document}{END_OF_TEXT}"
    return str(chat.apply_chat_template(document, tokenize=False))


def token_batches(tokenizer: Tokenizer, seed: int) -> Iterator[torch.Tensor]:
    chat = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokenizer_config())  # type: ignore[no-untyped-call]
    documents = compose(seed)
    tokens: list[int] = []
    for number in range(10**9):
        rows, columns = SHAPES[number % len(SHAPES)]
        while len(tokens) < rows * columns:
            rendered = [render(document, chat) for document in islice(documents, DOCUMENTS_AT_ONCE)]
            for encoding in tokenizer.encode_batch_fast(rendered, add_special_tokens=False):
                tokens += encoding.ids
        taken, tokens = tokens[: rows * columns], tokens[rows * columns :]
        yield torch.tensor(taken).view(rows, columns)


def labels_of(batch: torch.Tensor, tokenizer: Tokenizer) -> torch.Tensor:
    """The batch without system prompts and questions: those are given, so the model need not learn to make them up."""
    given = torch.tensor([tokenizer.token_to_id(marker) for marker in (SYSTEM, USER)])
    made = torch.tensor([tokenizer.token_to_id(marker) for marker in (ASSISTANT, BEGIN)])
    place = torch.arange(batch.shape[1]).expand_as(batch)
    last_given = torch.where(torch.isin(batch, given), place, -1).cummax(dim=1).values
    last_made = torch.where(torch.isin(batch, made), place, -1).cummax(dim=1).values
    return batch.masked_fill(last_given > last_made, NOT_LEARNED)
