"""One endpoint: its calls in flight and the channels they are on. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from penstock.endpoints.standing import Standing
from penstock.endpoints.targets import Address

CallsT = TypeVar("CallsT")

# Peers often allow 100 streams on a connection (Envoy, nginx and many load balancers do); a call beyond them waits
# inside the client, without an error, while its deadline runs.
CROWDED_STREAMS = 80

# After so long without a call a channel beyond the first is given up.
IDLE_SECONDS = 60.0

# Between two connections to an address whose server leaves: there may be no other behind it.
RECONNECT_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class PooledChannel(Generic[CallsT]):
    """A channel by its RPCs.

    security: what its credentials were made from. streams: those of HTTP/2 that are open. idle_since: when the last one
    ended.
    """

    calls: CallsT
    security: object
    streams: int = 0
    idle_since: float = 0.0


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """How an endpoint stands.

    endpoint: mostly "host:port". in_flight: calls that are not over. channels: connections that carry them.
    failures: in a row, now. ejected_until: by time.monotonic(), where it is out of use; None where it is in use.
    """

    endpoint: str
    in_flight: int
    channels: int
    failures: int
    ejected_until: float | None


class Endpoint(Generic[CallsT]):
    """An address with its channels. A channel that is given up closes once no call holds it any more."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.standing = Standing()
        self.in_flight = 0
        self.channels: list[PooledChannel[CallsT]] = []
        self._reconnected = float("-inf")

    def channel(self, now: float, security: object, most: int, dial: Callable[[bool], CallsT]) -> PooledChannel[CallsT]:
        """The one with the fewest streams, among those of that security; another one where all are crowded.

        `dial` is told whether the channel is one beyond the first.
        """
        self._give_up_idle_channels(now, security)
        emptiest = min(self.channels, key=lambda channel: channel.streams, default=None)
        if emptiest is not None and (emptiest.streams < CROWDED_STREAMS or len(self.channels) >= most):
            return emptiest
        made = PooledChannel(dial(bool(self.channels)), security, idle_since=now)
        self.channels.append(made)
        return made

    def give_up_channels(self) -> None:
        """Whoever comes next connects at once. A channel that has failed to pauses, and fails its calls meanwhile."""
        self.channels.clear()

    def reconnect(self, now: float) -> None:
        """Give up the channels of a server that leaves: behind its address there may be others, as with a balancer."""
        if now - self._reconnected >= RECONNECT_SECONDS:
            self._reconnected = now
            self.give_up_channels()

    def _give_up_idle_channels(self, now: float, security: object) -> None:
        current = [channel for channel in self.channels if channel.security is security]
        self.channels[:] = [
            channel
            for place, channel in enumerate(current)
            if place == 0 or channel.streams or now - channel.idle_since < IDLE_SECONDS
        ]

    @property
    def status(self) -> EndpointStatus:
        return EndpointStatus(
            self.address.endpoint,
            self.in_flight,
            len(self.channels),
            self.standing.failures,
            self.standing.ejected_until,
        )
