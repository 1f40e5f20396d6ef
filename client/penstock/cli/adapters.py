"""`penstock adapters`: list, load, unload, alias."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from penstock.cli.connection import Connection
from penstock.cli.option_groups import expanded
from penstock.cli.output import print_json, print_text, stdout_console
from penstock.cli.terminal_text import printable
from penstock.openai_shape.model_types import Model

LISTING_SECONDS = 10
LOADING_SECONDS = 120  # reading an adapter from a slow disk, or waiting for the last call that uses it

adapters = typer.Typer(name="adapters", no_args_is_help=True, help="List, load and unload adapters (LoRA); name them.")

Name = Annotated[str, typer.Argument(help="The adapter's name: its directory at the server.")]
Version = Annotated[str, typer.Argument(help="The version: the directory inside that one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


@adapters.command("list")
@expanded
def list_adapters(*, as_json: AsJson = False, connection: Connection) -> None:
    """List the loaded adapters and the aliases that mean them; only NAME@VERSION where stdout is no terminal."""
    with connection.client(LISTING_SECONDS) as client:
        models = list(client.models.list())
    console = stdout_console()
    if console.is_terminal and not as_json:
        console.print(_table(models))
        return
    for model in models:
        for adapter in model.adapters:
            if as_json:
                print_json({**adapter.to_dict(), "model": model.id, "aliases": _aliases(model, adapter.id)})
            else:
                print(adapter.id)


@adapters.command()
@expanded
def load(*, name: Name, version: Version, as_json: AsJson = False, connection: Connection) -> None:
    """Load a version of an adapter from the server's own directory, and print what calls name it by.

    Waits for 120 seconds unless --timeout says otherwise.
    """
    with connection.client(LOADING_SECONDS) as client:
        adapter = client.models.load_adapter(name, version)
    if as_json:
        print_json(adapter.to_dict())
    else:
        print_text(adapter.id)


@adapters.command()
@expanded
def unload(*, name: Name, version: Version, connection: Connection) -> None:
    """Unload a version of an adapter, after the last call that uses it.

    Waits for 120 seconds unless --timeout says otherwise.
    """
    with connection.client(LOADING_SECONDS) as client:
        client.models.unload_adapter(name, version)


@adapters.command()
@expanded
def alias(
    *,
    name: Annotated[str, typer.Argument(help="The alias.")],
    means: Annotated[
        str | None, typer.Argument(help="A model's name or NAME@VERSION of an adapter.", show_default=False)
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias.")] = False,
    as_json: AsJson = False,
    connection: Connection,
) -> None:
    """Make a name mean a model or an adapter from now on, and print what it meant before, if anything."""
    if remove == (means is not None):
        raise typer.BadParameter("give what the alias is to mean, or --remove", param_hint="MEANS")
    with connection.client(LISTING_SECONDS) as client:
        before = client.models.set_alias(name, means or "")
    if as_json:
        print_json({"alias": name, "means": means, "before": before})
    elif before:
        print_text(before)


def _aliases(model: Model, adapter: str) -> list[str]:
    return [alias for alias, target in model.adapter_aliases.items() if target == adapter]


def _table(models: list[Model]) -> Table:
    table = Table("adapter", "also", "model", "rank", "calls")
    for model in models:
        for adapter in model.adapters:
            also = ", ".join(_aliases(model, adapter.id))
            cells = (adapter.id, also, model.id, str(adapter.rank), str(adapter.running_calls))
            table.add_row(*map(printable, cells))
    return table
