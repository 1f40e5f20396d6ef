"""`client.beta`: where older versions of openai-python have `chat.completions.parse` and `.stream`."""

from __future__ import annotations

from typing import Generic, TypeVar

ChatT = TypeVar("ChatT")


class Beta(Generic[ChatT]):
    """`client.beta.chat` is `client.chat`."""

    def __init__(self, chat: ChatT) -> None:
        self.chat = chat
