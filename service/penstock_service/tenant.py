"""On whose behalf a call is made."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from penstock_service.errors import PermissionDenied


@dataclass(frozen=True, slots=True)
class Tenant:
    """One of those who share the service, and what it may take; None is no limit of its own."""

    name: str
    tokens_per_minute: int | None = None  # of prompts and output together
    max_concurrent_calls: int | None = None
    manages_models: bool = False  # whether it may load and unload adapters and set aliases


# Whoever calls a service that asks nobody who they are.
ANONYMOUS = Tenant("", manages_models=True)

caller: ContextVar[Tenant] = ContextVar("caller", default=ANONYMOUS)
"""The tenant whose call the current task answers."""

identify: ContextVar[Callable[[], Tenant]] = ContextVar("identify", default=lambda: ANONYMOUS)
"""Tells who the caller is by now: keys are withdrawn while sessions are open. Raises Unauthenticated."""


def check_manages_models(tenant: Tenant) -> None:
    """Raise PermissionDenied unless the tenant may change what is served, which is everybody's."""
    if not tenant.manages_models:
        raise PermissionDenied("adapters and aliases are changed by tenants with manages_models alone")
