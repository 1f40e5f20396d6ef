"""What a line of a chat that begins with a slash does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from penstock.cli.conversation import Conversation

HELP = """\
/history       shows the conversation so far
/reset         forgets it; the instructions and the model stay
/system TEXT   gives the instructions; without TEXT shows them, and /system - removes them
/model NAME    changes the model; without NAME shows it, and /model - takes the server's first
/save FILE     writes the conversation as JSON, a list of messages
/exit          leaves, as Ctrl-D does
//TEXT         sends /TEXT as a message"""


class Leave(Exception):
    """The user wants to leave the chat."""


def is_command(line: str) -> bool:
    """Whether the line is for the chat itself; two slashes begin a message that has one."""
    return line.startswith("/") and not line.startswith("//")


def message_of(line: str) -> str:
    """The message that a line is."""
    return line[1:] if line.startswith("//") else line


def run_command(line: str, conversation: Conversation) -> str:
    """Do what the line says, and tell what to show. Raises Leave; ValueError for none of ours; OSError of a file."""
    name, _, rest = line[1:].partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise ValueError(f"there is no command /{name}; /help lists them")
    return command(rest.strip(), conversation)


def _help(_: str, conversation: Conversation) -> str:
    return HELP


def _history(_: str, conversation: Conversation) -> str:
    turns = (f"{message['role']}: {message['content']}" for message in conversation.messages)
    return "\n".join(turns) or "[nothing yet]"


def _reset(_: str, conversation: Conversation) -> str:
    conversation.turns = []
    return "[forgotten]"


def _system(text: str, conversation: Conversation) -> str:
    if text:
        conversation.system = None if text == "-" else text
    return f"[instructions: {conversation.system or 'none'}]"


def _model(name: str, conversation: Conversation) -> str:
    if name:
        conversation.model = None if name == "-" else name
    return f"[model: {conversation.model or 'first of the server'}]"


def _save(file: str, conversation: Conversation) -> str:
    if not file:
        raise ValueError("/save needs the name of a file")
    path = Path(file).expanduser()
    path.write_text(json.dumps(conversation.messages, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return f"[{len(conversation.messages)} messages in {path}]"


def _exit(_: str, conversation: Conversation) -> str:
    raise Leave


COMMANDS: dict[str, Callable[[str, Conversation], str]] = {
    "help": _help,
    "history": _history,
    "reset": _reset,
    "system": _system,
    "model": _model,
    "save": _save,
    "exit": _exit,
    "quit": _exit,
}
