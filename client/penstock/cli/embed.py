"""`penstock embed`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated

import typer

from penstock.cli.connection import Connection
from penstock.cli.failures import FAILED, say
from penstock.cli.output import print_json
from penstock.client import Client
from penstock.errors import APIError
from penstock.v1.generation_pb2 import Embedding

TEXTS_A_CALL = 64  # the contract's
SHOWN_NUMBERS = 4


def embed(
    *,
    texts: Annotated[
        list[str] | None, typer.Argument(help="The texts.", show_default="the lines of stdin, empty ones left out")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The name or alias of a model that embeds.", show_default="the server's first")
    ] = None,
    dimensions: Annotated[
        int | None,
        typer.Option(help="How many numbers a vector has, 1 or more.", show_default="as many as the model makes"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each vector whole, as one JSON object a line.")
    ] = False,
    connection: Connection,
) -> None:
    """Turn texts into vectors.

    Without --json it prints how long each is and how it begins. Exit status 1 if a text failed; the others are printed
    nevertheless.
    """
    failed = False
    with connection.client() as client:
        for index, text, result in _embedded(client, texts or _lines(), model, dimensions):
            failed |= isinstance(result, APIError)
            (_print_json if as_json else _print_text)(index, text, result)
    if failed:
        raise typer.Exit(FAILED)


def _lines() -> Iterator[str]:
    if sys.stdin.isatty():
        raise typer.BadParameter("give texts, or pipe lines into stdin", param_hint="TEXTS")
    return filter(None, (line.rstrip("\r\n") for line in sys.stdin))


def _embedded(
    client: Client, texts: Iterable[str], model: str | None, dimensions: int | None
) -> Iterator[tuple[int, str, Embedding | APIError]]:
    index, rest = 0, iter(texts)
    while group := list(islice(rest, TEXTS_A_CALL)):
        for text, result in zip(group, client.embed(group, model=model, dimensions=dimensions), strict=True):
            yield index, text, result
            index += 1


def _print_json(index: int, text: str, result: Embedding | APIError) -> None:
    if isinstance(result, APIError):
        print_json({"index": index, "error": {"code": result.code, "message": result.message}})
    else:
        print_json({"index": index, "prompt_tokens": result.prompt_tokens, "values": list(result.values)})


def _print_text(index: int, text: str, result: Embedding | APIError) -> None:
    if isinstance(result, APIError):
        say(f"text {index}: {result.message}")
        return
    beginning = " ".join(f"{value:.4f}" for value in result.values[:SHOWN_NUMBERS])
    more = " ..." if len(result.values) > SHOWN_NUMBERS else ""
    print(f"{index}: {len(result.values)} numbers of {result.prompt_tokens} tokens: {beginning}{more}")
