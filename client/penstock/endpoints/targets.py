"""What a client's target means: endpoints as they are, and names to look up. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from penstock import arguments
from penstock.arguments import ArgumentValueError

TargetLike = str | Sequence[str]

# That of gRPC's own name resolver.
DEFAULT_PORT = "443"

_DNS = re.compile(r"dns:(?:///)?(?P<host>\[[^\]/]+\]|[^:/\[\]]+)(?::(?P<port>[^:/]+))?")


@dataclass(frozen=True, slots=True)
class Address:
    """One endpoint to dial.

    endpoint: how it is called here, mostly "host:port". target: what gRPC dials.
    name, port: of the service that is dialled by a bare address; None where the target has the name itself.
    """

    endpoint: str
    target: str
    name: str | None = None
    port: str | None = None

    @property
    def authority(self) -> str | None:
        return None if self.name is None else f"{self.name}:{self.port}"

    @property
    def certified_name(self) -> str | None:
        """What the server's certificate must name, where that is not the host in `target`."""
        return None if self.name is None else self.name.strip("[]")


@dataclass(frozen=True, slots=True)
class Name:
    """A name with an endpoint behind each of its addresses."""

    host: str
    port: str

    @property
    def unresolved(self) -> Address:
        """The endpoint while no address is known: gRPC looks the name up itself, and says what is wrong with it."""
        return Address(f"{self.host}:{self.port}", f"dns:///{self.host}:{self.port}")

    def at(self, address: str, port: int) -> Address:
        """The endpoint behind one of its IP addresses."""
        place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return Address(place, place, self.host, self.port)


def parse_targets(target: TargetLike) -> tuple[Address | Name, ...]:
    """The endpoints of a target or of a list of them, each once. TypeError or ValueError if it is neither."""
    texts = arguments.texts("target", target)
    if not texts:
        raise ArgumentValueError("target", "is an empty list")
    return tuple(dict.fromkeys(map(_parse, texts)))


def _parse(target: str) -> Address | Name:
    if not target or target.isspace():
        raise ArgumentValueError("target", "is empty; it must be like 'localhost:50051'")
    if target.startswith(("http://", "https://")):
        raise ArgumentValueError("target", f"is {target[:64]!r}; it must be like 'host:port', with tls=True for https")
    dns = _DNS.fullmatch(target)
    if dns is None:
        return Address(target, target)
    return Name(dns["host"], dns["port"] or DEFAULT_PORT)
