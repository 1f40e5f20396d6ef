"""Generations that survive their caller's process: `Client(state=path)`, `client.tasks`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from penstock.arguments import ArgumentValueError

if TYPE_CHECKING:
    from penstock.tasks.store import Store


class StateFileError(Exception):
    """The file of `Client(state=...)` cannot be used. `str(error)` names it, and says why."""


def open_store(state: str | os.PathLike[str] | None) -> Store | None:
    """The store of that file; None without one, and then SQLite is not even imported. Raises StateFileError."""
    if state is None:
        return None
    from penstock.tasks.store import Store

    return Store(state)


def needed(store: Store | None) -> Store:
    """The client's store. ValueError if it was made without one."""
    if store is None:
        raise ArgumentValueError("state", "was not given to this client, so it keeps no tasks")
    return store
