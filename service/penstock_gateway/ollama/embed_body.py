"""From the JSON body of Ollama's /api/embed to the body of OpenAI's embeddings. Pure."""

from collections.abc import Mapping
from typing import Any


def openai_embedding_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body for /v1/embeddings. Options say how a model is run, and are not looked at.

    Ollama cuts texts that are too long unless `truncate` is false; here they are refused, and the caller learns it.
    """
    return {name: body[name] for name in ("model", "input", "dimensions") if name in body}
