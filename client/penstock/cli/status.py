"""`penstock status`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from penstock.cli.connection import Connection
from penstock.cli.failures import FAILED
from penstock.cli.output import print_json, stdout_console
from penstock.cli.terminal_text import printable
from penstock.endpoints.targets import Address
from penstock.errors import APIConnectionError, APIError
from penstock.openai_shape.model_types import Model

TIMEOUT_SECONDS = 10
SERVING = "SERVING"


@dataclass(frozen=True)
class EndpointStatus:
    """What one endpoint says of itself. `error` is why it says no more."""

    endpoint: str
    health: str
    models: tuple[Model, ...] = ()
    error: str | None = None

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        models = [model.to_dict() for model in self.models]
        return {"endpoint": self.endpoint, "health": self.health, "models": models, "error": self.error}


def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print each endpoint as one JSON object a line.")] = False,
    connection: Connection,
) -> None:
    """Show each endpoint's health, models and limits.

    An endpoint is a target, or one address behind a target of `dns:///`. Exit status 0 only if all are serving.
    """
    statuses = asyncio.run(_ask_all(connection, connection.endpoints()))
    if as_json:
        for each in statuses:
            print_json(each.as_json())
    else:
        stdout_console().print(_table(statuses))
    raise typer.Exit(0 if all(each.health == SERVING for each in statuses) else FAILED)


async def _ask_all(connection: Connection, endpoints: list[Address]) -> list[EndpointStatus]:
    return list(await asyncio.gather(*(_ask(connection, endpoint) for endpoint in endpoints)))


async def _ask(connection: Connection, address: Address) -> EndpointStatus:
    health = None
    async with connection.client_of(address, TIMEOUT_SECONDS) as client:
        try:
            health = await client.health()
            return EndpointStatus(address.endpoint, health, tuple(await client.models.list()))
        except APIError as error:
            unknown = "UNREACHABLE" if isinstance(error, APIConnectionError) else "UNKNOWN"
            return EndpointStatus(address.endpoint, health or unknown, error=error.message)


def _table(statuses: list[EndpointStatus]) -> Table:
    table = Table("endpoint", "health", "model", "context", "at once", "prompt", "engine")
    for each in statuses:
        if not each.models:
            table.add_row(*map(printable, (each.endpoint, each.health, each.error or "no model")))
        for model in each.models:
            table.add_row(*map(printable, (each.endpoint, each.health, model.id, *_limits(model))))
    return table


def _limits(model: Model) -> tuple[str, ...]:
    return (
        f"{model.context_length} tokens",
        f"{model.max_concurrent_sequences} sequences",
        f"{model.max_prompt_bytes} bytes",
        f"{model.engine} {model.engine_version}",
    )
