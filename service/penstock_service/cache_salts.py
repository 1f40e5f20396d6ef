"""Keeps what an engine has cached of one tenant's prompts from every other tenant, and from adapters. Pure.

Requests with the same salt share cached prompts, and who shares can tell from the time what others have asked. A salt
that callers choose alone is no protection: they could choose another tenant's.
"""

import hmac
import secrets

from penstock_service.tenant import Tenant


def new_secret() -> bytes:
    """What nobody who does not own the engine can know."""
    return secrets.token_bytes(32)


class CacheSalts:
    """The salts of one engine. `secret` is the same for all who share the engine."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, tenant: Tenant, asked: str) -> str:
        """The salt for the engine; empty for none. `asked` is what the caller would have, within its tenant.

        vLLM's hashes of cached blocks must never take a salt for an adapter's name, which has no colon.
        """
        if not tenant.name:
            return f"salt:{asked}" if asked else ""
        # No name has a NUL in it.
        return "tenant:" + hmac.digest(self._secret, f"{tenant.name}\0{asked}".encode(), "sha256").hex()
