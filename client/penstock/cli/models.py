"""`penstock models`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from penstock.cli.connection import Connection
from penstock.cli.output import print_json, stdout_console
from penstock.cli.terminal_text import printable
from penstock.openai_shape.model_types import Model

TIMEOUT_SECONDS = 10


def models(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print each model as one JSON object a line.")] = False,
    connection: Connection,
) -> None:
    """List the loaded models, the default one first.

    Where stdout is no terminal only their names are printed.
    """
    with connection.client(TIMEOUT_SECONDS) as client:
        loaded = client.models.list()
    console = stdout_console()
    if as_json:
        for model in loaded:
            print_json(model.to_dict())
    elif console.is_terminal:
        console.print(_table(list(loaded)))
    else:
        for model in loaded:
            print(model.id)


def _table(loaded: list[Model]) -> Table:
    table = Table("model", "also", "context", "for", "engine")
    for model in loaded:
        uses = "vectors" if model.embeddings else "chat, text" if model.chat else "text"
        cells = (model.id, ", ".join(model.aliases), f"{model.context_length} tokens", uses)
        table.add_row(*map(printable, cells), printable(f"{model.engine} {model.engine_version}"))
    return table
