"""Which limit on waiting passes when. Pure: who has the clock asks."""

from __future__ import annotations

from collections.abc import Callable


class Watch:
    """Watches the reader of one stream wait: first for its first chunk, then for each next one.

    A reader that does not wait is not in a hurry either: the time it takes itself counts for nothing. There is no timer
    for each chunk. The reader notes when it begins and ceases to wait; somebody with a timer calls `look`, and each
    time is told when to look next.

    idle: the limit between chunks, in seconds; None for none.
    """

    __slots__ = ("_expire", "_limit", "expired", "idle", "limited", "looked_after", "waiting_since")

    def __init__(self, idle: float | None) -> None:
        self.idle = idle
        self.waiting_since: float | None = None
        self.expired: float | None = None  # the limit that passed
        self.looked_after = False
        self.limited = False  # else the reader need not note anything
        self._limit: float | None = None
        self._expire: Callable[[], object] | None = None

    def begin(self, expire: Callable[[], object], limit: float | None) -> bool:
        """Wait for a first chunk, for `limit` seconds; `expire` is called if they pass, and ends the wait.

        Returns whether somebody has to begin to look.
        """
        self.expired = None
        self.waiting_since = None
        self._limit = limit
        self.limited = limit is not None or self.idle is not None
        self._expire = expire if self.limited else None
        return self.limited and not self.looked_after

    def output_came(self) -> None:
        """From now on the time between chunks is limited."""
        self._limit = self.idle

    def over(self) -> None:
        """There is nothing to wait for any more."""
        self._expire = None

    def look(self, now: float) -> float | None:
        """Expire if it is time. Returns when to look again; None for never."""
        # First, so that a `begin` that comes between in another thread asks for another to look.
        self.looked_after = False
        expire, limit, since = self._expire, self._limit, self.waiting_since
        if expire is None or (limit is None and self.idle is None):
            return None
        if limit is not None and since is not None and now >= since + limit:
            self.expired = limit
            self._expire = None
            expire()
            return None
        self.looked_after = True
        return min(
            (now if since is None else since) + limit if limit is not None else now + 3600.0,
            now + self.idle if self.idle is not None else now + 3600.0,  # it may begin to count any moment
        )
