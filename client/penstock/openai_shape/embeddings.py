"""OpenAI's embeddings: from its parameters to requests of the contract, and from the vectors to its results. Pure."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock import arguments
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.embeddings import EmbedReply, embed_request
from penstock.openai_shape.embedding_types import CreateEmbeddingResponse, Embedding, EmbeddingUsage
from penstock.openai_shape.options import Options, bad_request
from penstock.openai_shape.parameters import prompts
from penstock.v1.generation_pb2 import EmbedRequest

MOST_INPUTS = 2048  # OpenAI's limit
INPUTS_A_REQUEST = 64  # the contract's

_MAPPED = {"model": "model", "dimensions": "dimensions"}
# vLLM's.
_MAPPED_EXTRAS = {
    "add_special_tokens": "add_special_tokens",
    "normalize": "normalize",
    "request_id": "request_id",
    "truncate_prompt_tokens": "truncate_prompt_tokens",
    "truncation_side": "truncation_side",
}

EMBEDDING_PARAMETERS = frozenset({*_MAPPED, "encoding_format", "input", "user"})
EMBEDDING_EXTRAS = frozenset(_MAPPED_EXTRAS)


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """What `embeddings.create` asks for: requests whose inputs follow each other, and how vectors are written."""

    requests: list[EmbedRequest]
    as_base64: bool


def embedding_call(parameters: Mapping[str, Any]) -> EmbeddingCall:
    """Read the parameters, extras among them. Raises BadRequestError with `param`."""
    given = {name: value for name, value in parameters.items() if value is not None}
    options = Options()
    try:
        options.take(given, {**_MAPPED, **_MAPPED_EXTRAS})
        encoding = arguments.one_of("encoding_format", given.get("encoding_format", "float"), ("float", "base64"))
        texts = [value for _, value in prompts("input", given.get("input"), MOST_INPUTS)]
        return EmbeddingCall(_requests(texts, options), encoding == "base64")
    except (ArgumentTypeError, ArgumentValueError) as error:
        raise bad_request(error, {}) from error


def _requests(texts: Sequence[object], options: Options) -> list[EmbedRequest]:
    requests = []
    for start in range(0, len(texts), INPUTS_A_REQUEST):
        part = options.copy()
        part.set("texts", texts[start : start + INPUTS_A_REQUEST], "input")
        requests.append(part.request(embed_request))
    return requests


def embedding_response(replies: Sequence[EmbedReply], as_base64: bool) -> CreateEmbeddingResponse:
    """All vectors in the order of the inputs. Raises the error of the first that failed."""
    vectors = [vector for reply in replies for vector in reply.vectors]
    prompt_tokens = sum(reply.usage.prompt_tokens for reply in replies)
    return CreateEmbeddingResponse(
        data=[Embedding(_base64(vector) if as_base64 else list(vector), i) for i, vector in enumerate(vectors)],
        model=replies[0].model,
        usage=EmbeddingUsage(prompt_tokens, prompt_tokens),
        _request_id=replies[0].request_id or replies[0].id,
    )


def _base64(vector: Sequence[float]) -> str:
    """As OpenAI has it: little-endian floats of 32 bits."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
