"""The commands `generate`, `chat`, `models` and `health`.

Answers go to stdout as plain text; errors are one sentence on stderr and exit status 1.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any, NoReturn

import typer
from google.protobuf.json_format import MessageToJson
from rich.console import Console
from rich.table import Table

from penstock.chat_session import ChatSession
from penstock.client import DEFAULT_TARGET, Client
from penstock.errors import APIConnectionError, APIError
from penstock.reply import Reply

POLL_SECONDS = 0.25

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Talk to a Penstock text-generation service.",
)

Target = Annotated[str, typer.Option(envvar="PENSTOCK_TARGET", help="The service's address, a gRPC target.")]
ModelName = Annotated[str | None, typer.Option("--model", help="A model's name or alias. [default: the server's]")]
MaxTokens = Annotated[int | None, typer.Option(help="The most tokens to generate. [default: what the context has]")]
Temperature = Annotated[float | None, typer.Option(help="0 to 2. [default: the model's]")]
Timeout = Annotated[float | None, typer.Option(help="Seconds that a call may take. [default: no limit]")]


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="The text to continue.")],
    target: Target = DEFAULT_TARGET,
    model: ModelName = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    stream: Annotated[bool, typer.Option(help="Print the text as it comes.")] = True,
    timeout: Timeout = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole reply as one JSON object.")] = False,
) -> None:
    """Continue a text."""
    options: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "temperature": temperature}
    with _client(target, timeout) as client:
        if as_json:
            print(_json(client.generate(prompt, **options)))
        elif stream:
            with client.stream(prompt, **options) as pieces:
                _print_as_it_comes(chunk.text for chunk in pieces)
        else:
            print(client.generate(prompt, **options).text)


@app.command()
def chat(
    message: Annotated[str | None, typer.Argument(help="One message; without it a conversation begins.")] = None,
    target: Target = DEFAULT_TARGET,
    model: ModelName = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    timeout: Timeout = None,
) -> None:
    """Talk with a model. Ctrl-C stops a running answer; at the prompt it leaves, as Ctrl-D does."""
    options: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "temperature": temperature}
    with _client(target, timeout) as client:
        session = ChatSession(client, options)
        if message is not None:
            with closing(session.ask(message)) as texts:
                _print_as_it_comes(texts)
        else:
            _converse(session)


@app.command()
def models(target: Target = DEFAULT_TARGET, timeout: Timeout = 10) -> None:
    """List the loaded models."""
    with _client(target, timeout) as client:
        loaded = client.models.list()
    console = Console()
    if not console.is_terminal:
        for model in loaded:
            print(model.id)
        return
    table = Table("model", "aliases", "context", "chat", "engine")
    for model in loaded:
        engine = f"{model.engine} {model.engine_version}"
        table.add_row(
            model.id, ", ".join(model.aliases), str(model.context_length), "yes" if model.chat else "no", engine
        )
    console.print(table)


@app.command()
def health(
    target: Target = DEFAULT_TARGET,
    service: Annotated[str, typer.Option(help="A service's full name. [default: the server as a whole]")] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for SERVING.")] = 0,
    timeout: Timeout = 5,
) -> None:
    """Tell whether the server is ready; exit status 0 only if it says SERVING."""
    end = time.monotonic() + wait
    with _client(target, timeout) as client:
        status = _status(client, service, last=wait <= 0)
        while status != "SERVING" and (left := end - time.monotonic()) > 0:
            time.sleep(min(POLL_SECONDS, left))
            status = _status(client, service, last=time.monotonic() >= end)
    print(status)
    raise typer.Exit(0 if status == "SERVING" else 1)


def _status(client: Client, service: str, *, last: bool) -> str:
    """The server's status; while there is time left, one that cannot be reached is merely not ready."""
    try:
        return client.health(service)
    except APIConnectionError:
        if last:
            raise
        return "UNREACHABLE"


def _converse(session: ChatSession) -> None:
    while (message := _ask()) is not None:
        if message.strip():
            _answer(session, message)


def _answer(session: ChatSession, message: str) -> None:
    try:
        with closing(session.ask(message)) as texts:
            _print_as_it_comes(texts)
    except KeyboardInterrupt:
        print("\n[stopped]")
    except APIError as error:
        _say(error)


def _ask() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        print()
        return None


def _print_as_it_comes(texts: Iterable[str]) -> None:
    for text in texts:
        sys.stdout.write(text)
        sys.stdout.flush()
    print()


def _json(reply: Reply) -> str:
    return MessageToJson(reply.proto, preserving_proto_field_name=True, indent=None, ensure_ascii=False)


@contextmanager
def _client(target: str, timeout: float | None) -> Iterator[Client]:
    """A client whose errors end the program with a sentence."""
    try:
        with Client(target, timeout=timeout) as client:
            yield client
    except (APIError, ValueError, TypeError) as error:
        _fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _say(error: Exception) -> None:
    sys.stdout.flush()
    print(f"penstock: {error}", file=sys.stderr)


def _fail(error: Exception) -> NoReturn:
    _say(error)
    raise typer.Exit(1) from None
