"""Locks in a forked child: whoever held one in the parent is not there to let it go."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class HasLocks(Protocol):
    def renew_locks(self) -> None:
        """Make them anew, open."""


_owners: weakref.WeakSet[HasLocks] = weakref.WeakSet()


def renew_locks_of(owner: HasLocks) -> None:
    """In each child that is forked from now on, as long as there is the owner."""
    _owners.add(owner)


def _renew() -> None:
    for owner in list(_owners):
        owner.renew_locks()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_renew)
