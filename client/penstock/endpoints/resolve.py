"""Looks a name up with the system's resolver, which knows /etc/hosts and search domains as well as DNS."""

from __future__ import annotations

import logging
import socket

from penstock.endpoints.targets import Address, Name

logger = logging.getLogger("penstock")


def resolve(name: Name) -> list[Address]:
    """An endpoint for each address behind the name; none if it cannot be looked up. Blocks."""
    try:
        found = socket.getaddrinfo(name.host.strip("[]"), name.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        logger.warning("%s cannot be looked up: %s", name.host, error)
        return []
    reachable = [entry for entry in found if _has_route(entry[0], entry[4])] or found
    return list(dict.fromkeys(name.at(str(entry[4][0]), int(entry[4][1])) for entry in reachable))


def _has_route(family: int, address: tuple[object, ...]) -> bool:
    """Whether packets would leave at all: many hosts have no IPv6, and an endpoint there would fail its first calls."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # sends nothing
    except OSError:
        return False
    return True
