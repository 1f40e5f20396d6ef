"""Answers that cannot be parsed because they ended too early; the names are openai-python's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.errors import OpenAIError

if TYPE_CHECKING:
    from penstock.openai_shape.types import ChatCompletion


class LengthFinishReasonError(OpenAIError):
    """A limit of length cut the answer, so that it cannot be parsed. completion: the answer as far as it came."""

    def __init__(self, completion: ChatCompletion) -> None:
        super().__init__(f"the answer was cut by a limit of length, so it cannot be parsed; usage: {completion.usage}")
        self.completion = completion

    def __reduce__(self) -> tuple[type[LengthFinishReasonError], tuple[ChatCompletion]]:
        """Pickled by what it was made of, so that it passes between processes."""
        return type(self), (self.completion,)


class ContentFilterFinishReasonError(OpenAIError):
    """A filter cut the answer. Penstock has none: the name is there for programs that catch it."""
