"""Prints an answer as it comes."""

from __future__ import annotations

import os
import sys

from penstock.chunk import Chunk
from penstock.cli.terminal_text import printable

DIM, NORMAL = "\x1b[2m", "\x1b[0m"


class AnswerPrinter:
    """A terminal also gets what the model thinks, dimmed; a pipe gets the answer alone, to the last character."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._can_dim = self._terminal and os.environ.get("TERM") not in ("dumb", "unknown")
        self._thinking = False
        self._column = 0  # of the line that is being written; 0 at its beginning

    def show(self, chunk: Chunk) -> None:
        """Print what is new."""
        if self._terminal and chunk.reasoning:
            self._switch(thinking=True)
            self._write(chunk.reasoning)
        if chunk.text:
            self._switch(thinking=False)
            self._write(chunk.text)

    def end(self) -> None:
        """End the line; also after an answer that broke off."""
        if self._thinking and self._can_dim:
            sys.stdout.write(NORMAL)
        self._thinking = False
        print(flush=True)

    def _switch(self, *, thinking: bool) -> None:
        if thinking == self._thinking:
            return
        if self._thinking and self._column:
            self._write("\n")
        if self._can_dim:
            sys.stdout.write(DIM if thinking else NORMAL)
        self._thinking = thinking

    def _write(self, text: str) -> None:
        sys.stdout.write(printable(text) if self._terminal else text)
        sys.stdout.flush()
        self._column = len(text) - text.rfind("\n") - 1 if "\n" in text else self._column + len(text)
