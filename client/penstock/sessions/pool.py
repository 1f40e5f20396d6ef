"""The sessions of one channel. The same for both flavours, apart from what a session is."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from penstock.call_options import Pairs
from penstock.sessions.inbox import Inbox
from penstock.sessions.roster import Roster, SessionLike
from penstock.sessions.support import Support
from penstock.v1.generation_pb2 import SessionRequest

CallT = TypeVar("CallT", bound=Inbox)


class Session(SessionLike, Protocol):
    def start(self, call: Any, message: SessionRequest) -> bool:
        """Begin the call. False if the session takes no more; the first call of all is always taken."""

    def open(self, metadata: Pairs) -> None:
        """Begin the RPC. Once, after the first call was started, so that the call learns it if the RPC fails."""

    def abandon(self) -> None:
        """End the session. Allowed in any thread, and to a collector of garbage."""


SessionT = TypeVar("SessionT", bound=Session)


class SessionPool(Generic[SessionT, CallT]):
    """Starts calls on the session that suits best, and opens sessions."""

    def __init__(self, make_session: Callable[[Support], SessionT]) -> None:
        self.support = Support()
        self._make_session = make_session
        self._lock = threading.Lock()
        self._roster: Roster[SessionT] = Roster()
        weakref.finalize(self, _abandon, self.sessions).atexit = False

    @property
    def sessions(self) -> list[SessionT]:
        return self._roster.sessions

    def start(self, call: CallT, message: SessionRequest, metadata: Pairs) -> None:
        """Begin the call. A session that this opens is opened with the metadata."""
        with self._lock:
            session = self._roster.choose()
            if session is None or not session.start(call, message):
                session = self._make_session(self.support)
                session.start(call, message)
                session.open(metadata)
                self.sessions.append(session)


def _abandon(sessions: Sequence[Session]) -> None:
    for session in sessions:
        session.abandon()
