"""A conversation that remembers itself."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from penstock.chunk import Chunk
from penstock.client import Client


class Conversation:
    """Keeps the turns so far. An answer that was stopped stays with the text that had come.

    system: the instructions before the first turn; None for none.
    model: the model that answers; None for the server's first.
    turns: the messages so far, those of the user and of the assistant in turn.
    """

    def __init__(self, client: Client, options: Mapping[str, Any], system: str | None = None) -> None:
        self._client = client
        self._options = {name: value for name, value in options.items() if name != "model"}
        self.model: str | None = options.get("model")
        self.system = system
        self.turns: list[dict[str, str]] = []

    @property
    def messages(self) -> list[dict[str, str]]:
        """What a next call sends before its own message."""
        return [*([{"role": "system", "content": self.system}] if self.system else []), *self.turns]

    def ask(self, message: str) -> Generator[Chunk, None, None]:
        """The answer, piece by piece. A question that got no text as an answer is forgotten."""
        question = {"role": "user", "content": message}
        with self._client.stream(messages=[*self.messages, question], model=self.model, **self._options) as stream:
            try:
                yield from stream
            finally:
                if stream.text:
                    self.turns += [question, {"role": "assistant", "content": stream.text}]
