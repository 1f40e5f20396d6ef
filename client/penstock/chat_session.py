"""A conversation that remembers itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from penstock.client import Client


class ChatSession:
    """Keeps the turns so far. An answer that was stopped stays with the text that had come."""

    def __init__(self, client: Client, options: Mapping[str, Any]) -> None:
        self._client = client
        self._options = options
        self.messages: list[dict[str, str]] = []

    def ask(self, message: str) -> Generator[str, None, None]:
        """The answer's text, piece by piece. A question that got no text as an answer is forgotten."""
        asked = [*self.messages, {"role": "user", "content": message}]
        with self._client.stream(messages=asked, **self._options) as stream:
            try:
                for chunk in stream:
                    yield chunk.text
            finally:
                if stream.text:
                    self.messages = [*asked, {"role": "assistant", "content": stream.text}]
