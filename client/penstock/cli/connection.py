"""The options of every command: which service, how to reach it, for how long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.aio import AsyncClient
from penstock.channel_options import identity_options
from penstock.client import DEFAULT_TARGET, Client
from penstock.endpoints.resolve import resolve
from penstock.endpoints.targets import Address, parse_targets
from penstock.retry import Retry
from penstock.tls import Tls

PANEL = "Connection"
ONCE = Retry(attempts=1)

PemFile = Path | None


@dataclass(frozen=True)
class Connection:
    """How to reach the service."""

    target: Annotated[
        list[str] | None,
        typer.Option(
            envvar="PENSTOCK_TARGET",
            help="The service's address, a gRPC target; several times for several replicas "
            "(in the variable with spaces between them).",
            show_default=DEFAULT_TARGET,
            rich_help_panel=PANEL,
        ),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds that a call may take.",
            show_default="no limit for answers and vectors, 60 in a bench, 10 else",
            rich_help_panel=PANEL,
        ),
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PENSTOCK_API_KEY",
            help="The key that the service asks for; the variable keeps it out of the list of processes.",
            show_default="none",
            rich_help_panel=PANEL,
        ),
    ] = None
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            help="Speak TLS, with the system's authorities; each of the following options implies it.",
            show_default="plain text",
            rich_help_panel=PANEL,
        ),
    ] = False
    tls_ca: Annotated[
        PemFile,
        typer.Option(
            help="A PEM file with the authorities to trust.",
            show_default="the system's",
            rich_help_panel=PANEL,
        ),
    ] = None
    tls_certificate: Annotated[
        PemFile,
        typer.Option(
            help="A PEM file with a certificate of one's own, for mutual TLS; with --tls-key.",
            show_default="none",
            rich_help_panel=PANEL,
        ),
    ] = None
    tls_key: Annotated[
        PemFile,
        typer.Option(help="A PEM file with its key.", show_default="none", rich_help_panel=PANEL),
    ] = None
    tls_server_name: Annotated[
        str | None,
        typer.Option(
            help="The name that the service's certificate has.",
            show_default="the host in the target",
            rich_help_panel=PANEL,
        ),
    ] = None

    def client(self, default_timeout: float | None = None, **options: Any) -> Client:
        """A client of all targets. `default_timeout`, in seconds, is for a command line that gives none."""
        return Client(self._targets, **self._arguments(default_timeout), **options)

    def async_client(self, default_timeout: float | None = None, **options: Any) -> AsyncClient:
        """The same for asyncio."""
        return AsyncClient(self._targets, **self._arguments(default_timeout), **options)

    def client_of(self, address: Address, default_timeout: float) -> AsyncClient:
        """A client of one endpoint, which tries nothing twice."""
        arguments = self._arguments(default_timeout)
        if self.tls_server_name is None:
            certified_name = address.certified_name if arguments["tls"] else None
            arguments["channel_options"] = identity_options(address.authority, certified_name)
        return AsyncClient(address.target, retry=ONCE, **arguments)

    def endpoints(self) -> list[Address]:
        """Every endpoint of all targets, those behind a `dns:///` name one by one. Blocks while it looks names up."""
        endpoints: list[Address] = []
        for place in parse_targets(self._targets):
            endpoints += [place] if isinstance(place, Address) else resolve(place) or [place.unresolved]
        return endpoints

    @property
    def _targets(self) -> str | list[str]:
        given = list(self.target or [DEFAULT_TARGET])
        return given[0] if len(given) == 1 else given

    @property
    def _tls(self) -> Tls | None:
        files = {"ca": self.tls_ca, "certificate": self.tls_certificate, "key": self.tls_key}
        if not self.tls and self.tls_server_name is None and not any(files.values()):
            return None
        return Tls(**files, server_name=self.tls_server_name)

    def _arguments(self, default_timeout: float | None) -> dict[str, Any]:
        timeout = default_timeout if self.timeout is None else self.timeout
        return {"timeout": timeout, "api_key": self.api_key, "tls": self._tls}
