"""Where the commands print."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from rich.console import Console

from penstock.cli.terminal_text import printable

PIPED_COLUMNS = 200  # tables in a pipe or a file are not folded at 80


def stdout_console() -> Console:
    """rich's console on stdout: plain text where that is no terminal, whatever the environment says."""
    return _console(sys.stdout.isatty(), stderr=False)


def stderr_console() -> Console:
    """The same on stderr, for what is not the command's answer."""
    return _console(sys.stderr.isatty(), stderr=True)


def _console(terminal: bool, *, stderr: bool) -> Console:
    columns = None if terminal else PIPED_COLUMNS
    return Console(stderr=stderr, force_terminal=terminal, width=columns, highlight=False, markup=False, emoji=False)


def print_text(text: str) -> None:
    """Print what a model or a server wrote, and an end of line, at once; on a terminal without control characters."""
    print(printable(text) if sys.stdout.isatty() else text, flush=True)


def print_json(fields: Mapping[str, object]) -> None:
    """Print one JSON object on a line of its own, at once."""
    # JSON itself escapes the control characters of ASCII only, and a terminal obeys those of Latin-1 too.
    print(json.dumps(fields, ensure_ascii=sys.stdout.isatty(), allow_nan=False), flush=True)
