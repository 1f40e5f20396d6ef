"""One call's place at an endpoint."""

from __future__ import annotations

from typing import Generic, Literal, Protocol

from penstock.endpoints.endpoint import CallsT, Endpoint, PooledChannel

# See Lease.release.
Failed = bool | Literal["leaving"] | None


class Lender(Protocol[CallsT]):
    def share_stream(self, lease: Lease[CallsT]) -> None: ...

    def take_back(self, lease: Lease[CallsT], failed: Failed) -> None: ...


class Lease(Generic[CallsT]):
    """From `acquire` to the end of the call. To be held as long, because the channel closes when nobody holds it.

    endpoint: mostly "host:port". calls: the RPCs on one of its channels.
    """

    __slots__ = ("_lender", "began", "calls", "channel", "endpoint", "owns_stream", "place", "released")

    def __init__(
        self, lender: Lender[CallsT], place: Endpoint[CallsT], channel: PooledChannel[CallsT], began: float
    ) -> None:
        self._lender = lender
        self.place = place
        self.channel = channel
        self.began = began
        self.endpoint = place.address.endpoint
        self.calls = channel.calls
        self.owns_stream = True
        self.released = False

    def share_stream(self) -> None:
        """The call rides a session, so it is no stream of its own on the connection."""
        self._lender.share_stream(self)

    def release(self, failed: Failed) -> None:
        """The call is over. Only the first release counts. Allowed in any thread, and to a collector of garbage.

        failed: whether the endpoint did not do its part: no connection, or it said that it takes no calls (LOADING).
            "leaving" if it said that it takes none any more (DRAINING). False for any answer of it, an error too. None
            if the call ended before that could be told.
        """
        self._lender.take_back(self, failed)
