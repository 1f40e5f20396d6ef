"""On whose behalf a call is made."""

from contextvars import ContextVar
from dataclasses import dataclass


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
