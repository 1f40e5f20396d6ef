"""What has come for one call of a session and was not read yet. Pure: its subclasses wait and wake."""

from __future__ import annotations

from collections import deque

from penstock.sessions.endings import Ending
from penstock.v1.generation_pb2 import GenerateChunk

# Some 10 000 tokens; about what HTTP/2 and the server hold together for a stream of its own that is not read.
MOST_UNREAD_BYTES = 256 * 1024


class Inbox:
    """The multiplexer writes it and one consumer reads it, each in a thread of its own perhaps.

    Whoever reads looks at `ending` before `unread`, because chunks come before the end.
    """

    __slots__ = ("__weakref__", "_behind_bytes", "ending", "number", "unread")

    def __init__(self) -> None:
        self.number = 0
        self.unread: deque[GenerateChunk] = deque()
        self.ending: Ending | None = None
        self._behind_bytes = 0

    def put_behind(self, chunk: GenerateChunk) -> bool:
        """Keep the chunk behind others that were not read yet. False if that is more than may be kept."""
        self.unread.append(chunk)
        self._behind_bytes += chunk.ByteSize()
        return self._behind_bytes <= MOST_UNREAD_BYTES or self._fits()

    def _fits(self) -> bool:
        """Measured anew: what the consumer took since then was not subtracted."""
        self._behind_bytes = sum(chunk.ByteSize() for chunk in tuple(self.unread))
        return self._behind_bytes <= MOST_UNREAD_BYTES

    def end(self, ending: Ending) -> None:
        """Nothing more comes. The first ending counts."""
        if self.ending is None:
            self.ending = ending
