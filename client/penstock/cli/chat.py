"""`penstock chat`."""

from __future__ import annotations

import sys
from contextlib import closing, suppress
from typing import Annotated

import typer

from penstock.cli.answer_options import AnswerOptions
from penstock.cli.answer_printer import AnswerPrinter
from penstock.cli.chat_commands import Leave, is_command, message_of, run_command
from penstock.cli.connection import Connection
from penstock.cli.conversation import Conversation
from penstock.cli.failures import say
from penstock.cli.output import print_text
from penstock.errors import APIError


def chat(
    *,
    message: Annotated[
        str | None, typer.Argument(help="One message to answer.", show_default="a conversation begins")
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="Instructions before the conversation.", show_default="none")
    ] = None,
    answer: AnswerOptions,
    connection: Connection,
) -> None:
    """Talk with a model.

    Ctrl-C stops a running answer; at the prompt it leaves, as Ctrl-D does. /help lists the chat's own commands. What a
    model thinks is dimmed on a terminal, and left out elsewhere.
    """
    with connection.client() as client:
        conversation = Conversation(client, answer.given(), system)
        if message is None:
            _converse(conversation)
        else:
            _answer(conversation, message)


def _converse(conversation: Conversation) -> None:
    with suppress(ImportError):
        import readline  # noqa: F401 - its import gives `input` a history and editing; Windows lacks it
    while (line := _ask()) is not None:
        if not line.strip():
            continue
        try:
            _do(line, conversation)
        except Leave:
            return
        except BrokenPipeError:
            raise
        except (APIError, ValueError, OSError) as error:
            say(error)


def _ask() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() and sys.stdout.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        print()
        return None


def _do(line: str, conversation: Conversation) -> None:
    if is_command(line):
        print_text(run_command(line, conversation))
        return
    try:
        _answer(conversation, message_of(line))
    except KeyboardInterrupt:
        print("[stopped]", flush=True)


def _answer(conversation: Conversation, message: str) -> None:
    printer, begun = AnswerPrinter(), False
    with closing(conversation.ask(message)) as chunks:
        try:
            for chunk in chunks:
                begun = True
                printer.show(chunk)
        except KeyboardInterrupt:
            begun = True
            raise
        finally:
            if begun:
                printer.end()
