"""Reads a recording from a place of its own; for its reader it is what a generation is.

Whatever ends a follower early ends nobody else: the generation goes on, and so do its other readers.
"""

from penstock.v1.generation_pb2 import GenerateChunk
from penstock_service.errors import Cancelled, DeadlineExceeded, ServiceError, SlowReader
from penstock_service.reading import Reader
from penstock_service.recording import Recording


class Follower:
    """One reader's way through a recording; a Readable, and a Listener."""

    def __init__(self, recording: Recording, next_seq: int, reader: Reader, request_id: str | None = None) -> None:
        """`request_id` is the reader's own name for its call, if it gave one with the request."""
        self.recording = recording
        self._next = next_seq
        self._reader = reader
        self._request_id = request_id
        self._error: ServiceError | None = None
        self._announced = False
        reader.opened(self)
        if self.readable or self.ended:
            self.heard()

    @property
    def error(self) -> ServiceError | None:
        """How it failed, once it is drained."""
        return self._error or self.recording.error

    @property
    def held_bytes(self) -> int:
        """See Readable."""
        return len(self.recording.message(self._next)) if self.readable else 0

    @property
    def readable(self) -> bool:
        """See Readable."""
        return self._error is None and self._next < self.recording.count

    @property
    def ended(self) -> bool:
        """See Readable."""
        return self._error is not None or self.recording.over

    @property
    def drained(self) -> bool:
        """See Readable."""
        return self.ended and not self.readable

    def take(self, chunk: GenerateChunk) -> None:
        """See Readable."""
        chunk.MergeFromString(self.recording.message(self._next))
        if self._next == 0 and self._request_id is not None:
            chunk.request_id = self._request_id
        self._next += 1
        self._announced = False
        if self.readable:
            self.heard()

    def cancel(self) -> None:
        """See Readable."""
        self._fail(Cancelled())

    def late(self) -> None:
        """Its reader's time is over."""
        self._fail(DeadlineExceeded())

    # Listener.

    def heard(self) -> None:
        """See Listener."""
        if not self._announced:
            self._announced = True
            self._reader.news()

    def complete(self) -> None:
        """See Listener."""
        self._reader.news()

    def overtaken(self) -> None:
        """See Listener."""
        if self._next < self.recording.first:
            self.too_slow()

    # For the stall watch.

    def progress(self) -> int | None:
        """See stalls.Read."""
        return self._next if self.readable else None

    def too_slow(self) -> None:
        """See stalls.Read."""
        if self._error is None:
            self._fail(SlowReader())
            self._reader.interrupt()

    def _fail(self, error: ServiceError) -> None:
        if not self.drained:
            self._error = error
            self._reader.news()
