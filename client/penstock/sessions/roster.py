"""Which session takes the next call, and when another one is opened. Pure.

The channel's round_robin leads each new session to the next replica, where its calls then stay: one session keeps all
calls on one replica, and one for each call would save nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

# A step's message to so many calls is already cheap, and a replica's batch of so many worth a look at the next replica.
CROWDED = 8
# What reading one session costs is one thread's or loop's; beyond this, sharing a message saves little more.
FULL = 64


class SessionLike(Protocol):
    @property
    def open_calls(self) -> int: ...

    @property
    def takes_calls(self) -> bool:
        """Whether it is neither draining nor over."""

    @property
    def over(self) -> bool: ...

    @property
    def server_id(self) -> str | None:
        """The server's name for itself; None until the first message."""


SessionT = TypeVar("SessionT", bound=SessionLike)


class Roster(Generic[SessionT]):
    """The sessions of a channel, the newest last."""

    def __init__(self) -> None:
        self.sessions: list[SessionT] = []
        self._spreading = True  # another session is likely to lead to another server
        self._judged: SessionT | None = None

    def choose(self) -> SessionT | None:
        """The session for the next call; None if it is time to open another."""
        self._forget_ended()
        usable = [session for session in self.sessions if session.takes_calls]
        emptiest = _emptiest(_one_to_each_server(usable))
        if emptiest is None or (emptiest.open_calls >= CROWDED and self._would_spread(usable)):
            return None
        if emptiest.open_calls >= FULL:
            emptiest = _emptiest(usable)
        return emptiest if emptiest is not None and emptiest.open_calls < FULL else None

    def _forget_ended(self) -> None:
        going_on = [session for session in self.sessions if not session.over]
        if len(going_on) < len(self.sessions):
            self.sessions[:] = going_on
            self._spreading = True  # its server may have been replaced

    def _would_spread(self, usable: Sequence[SessionT]) -> bool:
        newest = usable[-1]
        if newest.server_id is None:
            return False
        if newest is not self._judged:
            self._judged = newest
            if any(session.server_id == newest.server_id for session in usable[:-1]):
                self._spreading = False
        return self._spreading


def _emptiest(sessions: Sequence[SessionT]) -> SessionT | None:
    return min(sessions, key=lambda session: session.open_calls, default=None)


def _one_to_each_server(sessions: Sequence[SessionT]) -> list[SessionT]:
    """The oldest of each. A second session to a server would halve what a message of each brings."""
    seen: dict[object, SessionT] = {}
    for session in sessions:
        seen.setdefault(session if session.server_id is None else session.server_id, session)
    return list(seen.values())
