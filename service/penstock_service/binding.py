"""Where a port is opened: on this machine alone, or beyond."""

import ipaddress
import socket


def beyond_loopback(host: str) -> bool:
    """Whether others than this machine may reach a port that is opened on `host`.

    An address is judged by itself (127.0.0.0/8 and ::1 are loopback), a name by all that it resolves to; one that
    resolves to nothing counts as beyond.
    """
    return not all(map(_is_loopback, _addresses(host)))


def _addresses(host: str) -> list[str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _resolved(host) or [host]
    return [host]


def _resolved(name: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except OSError:  # UnicodeError, for names that can be none, is a ValueError
        return []


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
