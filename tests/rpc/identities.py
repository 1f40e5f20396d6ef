"""Tenants for tests: their keys, and the files that the service knows them by."""

import hashlib
from pathlib import Path
from typing import Any

KEY, OTHER_KEY, ADMIN_KEY = "psk_of-the-first", "psk_of-the-second", "psk_of-the-admin"


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def write_identity(path: Path, *tenants: dict[str, Any], admin: tuple[str, ...] = ()) -> Path:
    """An identity file; `keys` are given as they are, and written as their hashes."""
    lines = []
    for tenant in tenants:
        hashed = {**tenant, "keys": [sha256(key) for key in tenant.get("keys", ())]}
        lines += ["[[tenants]]", *(f"{name} = {_toml(value)}" for name, value in hashed.items())]
    lines += ["[admin]", f"keys = {_toml([sha256(key) for key in admin])}"]
    replaced = path.with_suffix(".new")
    replaced.write_text("\n".join(lines) + "\n")
    return replaced.rename(path)


def two_tenants(path: Path) -> Path:
    """`first`, who manages the models, and `second`, who does not."""
    first = {"name": "first", "keys": [KEY], "manages_models": True}
    return write_identity(path, first, {"name": "second", "keys": [OTHER_KEY]}, admin=(ADMIN_KEY,))


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
