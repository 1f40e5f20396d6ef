"""What becomes of a command that fails: one sentence on stderr and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from penstock.arguments import ArgumentTypeError
from penstock.cli.terminal_text import printable
from penstock.errors import APIError

FAILED = 1
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


@contextmanager
def failures_reported() -> Iterator[None]:
    """End the program with a sentence for what a caller, a server or a file can cause; quietly for a closed pipe."""
    try:
        yield
    except BrokenPipeError:
        raise  # typer's own: it ends the program without a word
    except (APIError, ArgumentTypeError, ValueError, OSError) as error:
        say(error)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def say(error: Exception | str) -> None:
    """Print `error` as one line on stderr, after what is printed already."""
    sys.stdout.flush()
    print(f"penstock: {' '.join(printable(str(error)).split())}", file=sys.stderr)
