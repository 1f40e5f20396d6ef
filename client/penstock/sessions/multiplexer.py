"""The calls of one session: their numbers, where arriving chunks belong, how they end. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from penstock.sessions.endings import Ending, ended_by_server, slow_reader
from penstock.sessions.inbox import Inbox
from penstock.v1.generation_pb2 import SessionResponse

InboxT = TypeVar("InboxT", bound=Inbox)


@dataclass(frozen=True, slots=True)
class News(Generic[InboxT]):
    """What a message of the server brought."""

    inboxes: list[InboxT]  # something came for them, or they ended
    overflown: list[InboxT]  # some of them, which ended here and must be cancelled at the server


class Multiplexer(Generic[InboxT]):
    """Numbers calls from 1 and hands each what the server sends for it. Every call ends exactly once."""

    def __init__(self) -> None:
        self._calls: dict[int, InboxT] = {}
        self._last_number = 0
        self.ending: Ending | None = None  # of the session itself
        self.draining = False
        self.server_id: str | None = None  # until the first message

    def __len__(self) -> int:
        """How many calls are open."""
        return len(self._calls)

    @property
    def takes_calls(self) -> bool:
        return self.ending is None and not self.draining

    @property
    def finished(self) -> bool:
        """No call is open and none will be started."""
        return self.draining and not self._calls

    def start(self, inbox: InboxT) -> bool:
        """Give the call its number. False if the session takes no more calls."""
        if not self.takes_calls:
            return False
        self._last_number += 1
        inbox.number = self._last_number
        self._calls[inbox.number] = inbox
        return True

    def receive(self, response: SessionResponse) -> News[InboxT]:
        """Hand out one message. Pieces of calls that have ended here are passed over."""
        if self.server_id is None:
            self.server_id = response.server_id
        if response.draining:
            self.draining = True
        news: News[InboxT] = News([], [])
        self._hand_out_chunks(response, news)
        for end in response.ends:
            inbox = self._calls.pop(end.call, None)
            if inbox is not None:
                inbox.end(ended_by_server(end))
                news.inboxes.append(inbox)
        return news

    def _hand_out_chunks(self, response: SessionResponse, news: News[InboxT]) -> None:
        find, add = self._calls.get, news.inboxes.append
        for piece in response.chunks:
            inbox = find(piece.call)
            if inbox is None:
                continue
            add(inbox)
            if not inbox.unread:
                inbox.unread.append(piece.chunk)
            elif not inbox.put_behind(piece.chunk):
                self.drop(inbox)
                inbox.end(slow_reader)
                news.overflown.append(inbox)

    def drop(self, inbox: InboxT) -> bool:
        """Forget a call that ends here. False if it had ended already. Atomic, so that any thread may do it."""
        return self._calls.pop(inbox.number, None) is not None

    def end(self, ending: Ending) -> list[InboxT]:
        """The session itself is over. The calls that were open, which the caller of this ends."""
        self.ending = ending
        orphans = self._calls.copy()
        self._calls.clear()
        return list(orphans.values())
