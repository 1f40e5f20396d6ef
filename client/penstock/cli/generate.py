"""`penstock generate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from penstock.cli.answer_options import AnswerOptions
from penstock.cli.answer_printer import AnswerPrinter
from penstock.cli.connection import Connection
from penstock.cli.output import print_json, print_text
from penstock.stream import Stream


def generate(
    *,
    prompt: Annotated[
        str | None, typer.Argument(help="The text to continue; `-` reads it from stdin.", show_default="stdin")
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            help="Instructions: the prompt is then a message to answer, not a text to continue.", show_default="none"
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A file with the JSON Schema that the answer keeps to.",
            show_default="none",
        ),
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option(help="Print the answer as it comes.", show_default="--stream; --no-stream with --json"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a broken connection left off.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the reply as one JSON object; with --stream one for each chunk.")
    ] = False,
    answer: AnswerOptions,
    connection: Connection,
) -> None:
    """Continue a text, or answer a message.

    What stdin has loses one end of line at its end.
    """
    options = _options(_prompt(prompt), system, schema, answer)
    if resume:
        options["resume"] = True
    with connection.client() as client:
        if stream or (stream is None and not as_json):
            with client.stream(**options) as chunks:
                _print_chunks(chunks, as_json=as_json)
        else:
            reply = client.generate(**options)
            if as_json:
                _print_message(reply.proto)
            else:
                print_text(reply.text)


def _prompt(given: str | None) -> str:
    if given is not None and given != "-":
        return given
    if given is None and sys.stdin.isatty():
        raise typer.BadParameter("give a text, or pipe one into stdin", param_hint="PROMPT")
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


def _options(prompt: str, system: str | None, schema: Path | None, answer: AnswerOptions) -> dict[str, Any]:
    options = answer.given()
    if schema is not None:
        options["json_schema"] = _schema(schema)
    if system is None:
        return {"prompt": prompt, **options}
    return {"messages": [{"role": "system", "content": system}, {"role": "user", "content": prompt}], **options}


def _schema(file: Path) -> dict[str, object]:
    try:
        schema = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}", param_hint="--schema") from None
    if not isinstance(schema, dict):
        raise typer.BadParameter(f"{file} has no JSON object", param_hint="--schema")
    return schema


def _print_chunks(chunks: Stream, *, as_json: bool) -> None:
    if as_json:
        for chunk in chunks:
            _print_message(chunk.proto)
        return
    printer, begun = AnswerPrinter(), False
    try:
        for chunk in chunks:
            begun = True
            printer.show(chunk)
    finally:
        if begun:
            printer.end()


def _print_message(message: Message) -> None:
    print_json(MessageToDict(message, preserving_proto_field_name=True))
