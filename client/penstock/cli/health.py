"""`penstock health`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from penstock.cli.connection import ONCE, Connection
from penstock.client import Client
from penstock.errors import APIConnectionError

POLL_SECONDS = 0.25
TIMEOUT_SECONDS = 10


def health(
    *,
    service: Annotated[
        str, typer.Option(help="A gRPC service's full name.", show_default="the server as a whole")
    ] = "",
    wait: Annotated[float, typer.Option(help="Seconds to wait for SERVING.", min=0)] = 0,
    connection: Connection,
) -> None:
    """Tell whether the server is ready; exit status 0 only if it says SERVING."""
    end = time.monotonic() + wait
    with connection.client(TIMEOUT_SECONDS, retry=ONCE) as client:
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
