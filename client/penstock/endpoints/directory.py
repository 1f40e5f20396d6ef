"""The endpoints that there are now, and what has to be done about them. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Generic

from penstock.endpoints.choice import choose
from penstock.endpoints.endpoint import CallsT, Endpoint
from penstock.endpoints.lookup import Lookup
from penstock.endpoints.targets import Address, Name
from penstock.events import EndpointEjected, EndpointRestored, Event


class Directory(Generic[CallsT]):
    """Those of one client in one process and event loop. `turn` is where its choice between equals starts.

    Times are those of one monotonic clock; a `chance` is random, in [0, 1).
    """

    def __init__(self, places: Sequence[Address | Name], turn: int = 0) -> None:
        self._places = [Lookup(place) if isinstance(place, Name) else place for place in places]
        self._lookups = [place for place in self._places if isinstance(place, Lookup)]
        self._endpoints: dict[str, Endpoint[CallsT]] = {}
        self._turns = itertools.count(turn)
        self._gather()

    @property
    def endpoints(self) -> list[Endpoint[CallsT]]:
        return list(self._endpoints.values())

    @property
    def resolved(self) -> bool:
        """Whether every name was looked up, with or without success."""
        return all(lookup.ended for lookup in self._lookups)

    def choose(self, avoid: Collection[str]) -> Endpoint[CallsT]:
        return choose(self._endpoints.values(), avoid, next(self._turns))

    def find(self, endpoint: str) -> Endpoint[CallsT] | None:
        return self._endpoints.get(endpoint)

    def begin_lookups(self, now: float) -> list[Lookup]:
        """The lookups that are due; `looked_up` is to be called with what each finds."""
        due = [lookup for lookup in self._lookups if lookup.due(now)]
        for lookup in due:
            lookup.begin()
        return due

    def looked_up(self, lookup: Lookup, addresses: Sequence[Address], now: float) -> None:
        lookup.end(now, addresses)
        self._gather()

    def begin_probes(self, now: float) -> list[Endpoint[CallsT]]:
        """The endpoints to probe; `probed` is to be called with the outcome of each."""
        due = [endpoint for endpoint in self._endpoints.values() if endpoint.standing.probe_due(now)]
        for endpoint in due:
            endpoint.standing.probe_begins()
        return due

    def probed(self, endpoint: Endpoint[CallsT], answers: bool, now: float, chance: float) -> Event | None:
        was_ejected = endpoint.standing.ejected
        cooldown = endpoint.standing.probed(answers, now, chance)
        if cooldown is not None:
            return self._ejected(endpoint, cooldown)
        return EndpointRestored(endpoint.address.endpoint) if was_ejected else None

    def failed(
        self, endpoint: Endpoint[CallsT], began: float, now: float, chance: float, leaving: bool = False
    ) -> Event | None:
        """A call that began then got no answer from the endpoint, or the answer that it is leaving.

        The last one in use is not ejected unless it is leaving: others that were ejected may be back before it is.
        """
        for lookup in self._lookups:
            if endpoint.address in lookup.addresses:
                lookup.call_failed()
        others = any(
            other is not endpoint and (leaving or not other.standing.ejected) for other in self._endpoints.values()
        )
        cooldown = endpoint.standing.failed(began, now, others, chance, leaving)
        if cooldown is not None:
            return self._ejected(endpoint, cooldown)
        if leaving and not endpoint.standing.ejected:
            endpoint.reconnect(now)
        return None

    def worked(self, endpoint: Endpoint[CallsT], began: float) -> Event | None:
        """A call that began then was answered by the endpoint."""
        return EndpointRestored(endpoint.address.endpoint) if endpoint.standing.worked(began) else None

    def _ejected(self, endpoint: Endpoint[CallsT], cooldown: float) -> Event:
        endpoint.give_up_channels()
        return EndpointEjected(endpoint.address.endpoint, endpoint.standing.failures, cooldown)

    def _gather(self) -> None:
        """An endpoint that is still there stays the same object; one that is gone lives on in its calls."""
        addresses = itertools.chain.from_iterable(
            place.addresses if isinstance(place, Lookup) else (place,) for place in self._places
        )
        self._endpoints = {
            address.endpoint: self._endpoints.get(address.endpoint) or Endpoint(address) for address in addresses
        }
