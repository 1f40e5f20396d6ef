"""The recordings of this server by id and key, within a budget of bytes. Pure: no clock.

What goes first when they grow too large: recordings that have ended and that nobody reads, the longest ended first;
then the older half of the largest, again and again. A reader who keeps up loses nothing by that, only the way back.
"""

from penstock_service.recording import Recording


class KeptRecordings:
    """Recordings of `most_bytes` together, and of `most_bytes_each`."""

    def __init__(self, most_bytes: int, most_bytes_each: int) -> None:
        self._most_bytes = most_bytes
        self._most_bytes_each = most_bytes_each
        self._by_id: dict[str, Recording] = {}
        self._by_key: dict[str, Recording] = {}
        self._unread: dict[str, Recording] = {}  # ended, and without a reader; the longest so first
        self.size = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, recording_id: str) -> Recording | None:
        """The recording of that id."""
        return self._by_id.get(recording_id)

    def find_by_key(self, key: str) -> Recording | None:
        """The recording of that idempotency key."""
        return self._by_key.get(key) if key else None

    def add(self, recording: Recording, key: str) -> None:
        """Keep it, from now on by its key as well if there is one."""
        self._by_id[recording.id] = recording
        if key:
            recording.key = key
            self._by_key[key] = recording
        self.size += recording.size
        self._make_room()

    def append(self, recording: Recording, message: bytes) -> None:
        """Add a message to a recording, and make room for it."""
        grown = recording.append(message)
        if self._by_id.get(recording.id) is not recording:
            return  # forgotten; it goes with its last reader
        self.size += grown - recording.drop(self._most_bytes_each)
        self._make_room()

    def settle(self, recording: Recording) -> None:
        """Look again at whether it has ended and anybody reads it."""
        self._unread.pop(recording.id, None)
        if recording.over and not recording.readers and recording.id in self._by_id:
            self._unread[recording.id] = recording

    def forget(self, recording: Recording) -> None:
        """Keep it no longer."""
        if self._by_id.pop(recording.id, None) is None:
            return
        recording.end_grace()
        self.size -= recording.size
        self._unread.pop(recording.id, None)
        if recording.key:
            del self._by_key[recording.key]

    def _make_room(self) -> None:
        while self.size > self._most_bytes and self._unread:
            self.forget(next(iter(self._unread.values())))
        while self.size > self._most_bytes:
            largest = max(self._by_id.values(), key=lambda recording: recording.spare_bytes)
            if not (freed := largest.drop(largest.size // 2)):
                return  # what is left are the newest messages of each, one by one for their readers
            self.size -= freed
