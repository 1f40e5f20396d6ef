"""The recordings of this server by id, and by tenant and key, within a budget of bytes. Pure: no clock.

When they grow too large, the tenant that holds most gives first: its recordings that have ended and that nobody reads,
the longest ended first; then the older half of its largest, again and again. A reader who keeps up loses nothing by
that, only the way back.
"""

from penstock_service.recording import Recording


class _Share:
    """What is kept of one tenant's."""

    __slots__ = ("recordings", "size", "unread")

    def __init__(self) -> None:
        self.size = 0
        self.recordings: dict[str, Recording] = {}
        self.unread: dict[str, Recording] = {}  # ended, and without a reader; the longest so first


class KeptRecordings:
    """Recordings of `most_bytes` together, and of `most_bytes_each`."""

    def __init__(self, most_bytes: int, most_bytes_each: int) -> None:
        self._most_bytes = most_bytes
        self._most_bytes_each = most_bytes_each
        self._by_id: dict[str, Recording] = {}
        self._by_key: dict[tuple[str, str], Recording] = {}
        self._shares: dict[str, _Share] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, recording_id: str) -> Recording | None:
        """The recording of that id, whoever's it is."""
        return self._by_id.get(recording_id)

    def find_for(self, tenant: str, recording_id: str) -> Recording | None:
        """The tenant's recording of that id."""
        recording = self._by_id.get(recording_id)
        return recording if recording is not None and recording.tenant == tenant else None

    def find_by_key(self, tenant: str, key: str) -> Recording | None:
        """The tenant's recording of that idempotency key."""
        return self._by_key.get((tenant, key)) if key else None

    def add(self, recording: Recording, key: str) -> None:
        """Keep it, from now on by its key as well if there is one."""
        self._by_id[recording.id] = recording
        if key:
            recording.key = key
            self._by_key[recording.tenant, key] = recording
        self._shares.setdefault(recording.tenant, _Share()).recordings[recording.id] = recording
        self._grow(recording, recording.size)
        self._make_room()

    def append(self, recording: Recording, message: bytes) -> None:
        """Add a message to a recording, and make room for it."""
        grown = recording.append(message)
        if self._by_id.get(recording.id) is not recording:
            return  # forgotten; it goes with its last reader
        self._grow(recording, grown - recording.drop(self._most_bytes_each))
        self._make_room()

    def settle(self, recording: Recording) -> None:
        """Look again at whether it has ended and anybody reads it."""
        if recording.id not in self._by_id:
            return
        unread = self._shares[recording.tenant].unread
        unread.pop(recording.id, None)
        if recording.over and not recording.readers:
            unread[recording.id] = recording

    def forget(self, recording: Recording) -> None:
        """Keep it no longer."""
        if self._by_id.pop(recording.id, None) is None:
            return
        recording.end_grace()
        self._grow(recording, -recording.size)
        share = self._shares[recording.tenant]
        del share.recordings[recording.id]
        share.unread.pop(recording.id, None)
        if not share.recordings:
            del self._shares[recording.tenant]
        if recording.key:
            del self._by_key[recording.tenant, recording.key]

    def _make_room(self) -> None:
        while self.size > self._most_bytes:
            shares = sorted(self._shares.values(), key=lambda share: share.size, reverse=True)
            if not any(self._gives(share) for share in shares):
                return  # what is left are the newest messages of each, one by one for their readers

    def _gives(self, share: _Share) -> bool:
        """Take something from a share, if there is anything to take."""
        if share.unread:
            self.forget(next(iter(share.unread.values())))
            return True
        largest = max(share.recordings.values(), key=lambda recording: recording.spare_bytes)
        freed = largest.drop(largest.size // 2)
        self._grow(largest, -freed)
        return freed > 0

    def _grow(self, recording: Recording, by: int) -> None:
        self.size += by
        self._shares[recording.tenant].size += by
