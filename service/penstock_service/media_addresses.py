"""From where the server fetches media: which URLs, and which addresses. Pure.

A server that fetches what callers name can be made to ask its own network. So the operator permits hosts by name, and
whatever such a name means, only public addresses are asked.
"""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

# Of a form in which no two parsers of URLs see different hosts: no user, no escapes, no brackets.
_URL = re.compile(r"https://([a-z0-9.-]+)(?::([0-9]{1,5}))?(?:[/?][!-~]*)?", re.IGNORECASE)
_NUMERIC = re.compile(r"[0-9.]+|0x.*", re.IGNORECASE)

# What IPv6 has for the hosts of the Internet so far; of these, what stands for an IPv4 address is not asked either.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# How networks of IPv6 alone reach IPv4 hosts (RFC 6052): the last 32 bits are the IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")
# Public by their numbers, but only inside of clouds: IETF's protocol assignments, Azure's own server for machines.
_INTERNAL = (ip_network("192.0.0.0/24"), ip_network("168.63.129.16/32"))


def url_refusal(url: str, hosts: Collection[str]) -> str:
    """Why `url` is not fetched when the operator permits `hosts`; empty if it is.

    A host stands for its port 443, "host:8443" for another one.
    """
    found = _URL.fullmatch(url)
    if found is None:
        return "must be an https URL of printable ASCII, with a host's name and without a user"
    host, port = found[1].lower(), int(found[2] or 443)
    named = host if port == 443 else f"{host}:{port}"
    if _NUMERIC.fullmatch(host) or named not in {each.lower() for each in hosts}:
        return "must be on a host that the server's operator permits (--media-hosts)"
    return ""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the Internet's hosts: not private, local, shared, multicast or reserved."""
    ip = _meant(address)
    if ip is None or (isinstance(ip, IPv6Address) and (ip not in _GLOBAL_UNICAST or ip.sixtofour or ip.teredo)):
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _INTERNAL)


def _meant(address: str) -> IPv4Address | IPv6Address | None:
    """The address that is asked in the end."""
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip
