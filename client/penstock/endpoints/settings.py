"""What a pool of endpoints is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from penstock.channel import Dialer
from penstock.endpoints.targets import Address, Name
from penstock.events import Event

# With CROWDED_STREAMS each, enough for as many streams as one Python process reads.
MAX_CHANNELS = 4


def _unheard(event: Event) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """places: as parse_targets makes them. max_channels: to one endpoint. clock: monotonic, in seconds.

    emit: is told of ejections and restorations, by the thread or event loop that notices them.
    """

    places: tuple[Address | Name, ...]
    dialer: Dialer
    max_channels: int = MAX_CHANNELS
    emit: Callable[[Event], None] = _unheard
    clock: Callable[[], float] = time.monotonic
