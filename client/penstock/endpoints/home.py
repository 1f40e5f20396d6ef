"""The endpoints as one process and event loop sees them: the pure parts with a clock, a lock and things to start."""

from __future__ import annotations

import logging
import random
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Generic, Protocol

from penstock.channel import Security
from penstock.endpoints.directory import Directory
from penstock.endpoints.endpoint import CallsT, Endpoint, EndpointStatus, PooledChannel
from penstock.endpoints.lease import Failed, Lease
from penstock.endpoints.lookup import Lookup
from penstock.endpoints.resolve import resolve
from penstock.endpoints.settings import PoolSettings
from penstock.endpoints.targets import Address
from penstock.events import Event

logger = logging.getLogger("penstock")


class ChannelIO(Protocol[CallsT]):
    """What the two flavours do differently."""

    def dial(self, address: Address, security: Security, extra: bool) -> CallsT:
        """The RPCs of a new channel, which connects when it is first used."""

    def probe(self, calls: CallsT, report: Callable[[bool], None]) -> None:
        """Ask for the server's health, and report later whether it takes calls. Does not wait."""


class Home(Generic[CallsT]):
    """Hands out leases. Threads may share it, and a collector of garbage may give leases back."""

    def __init__(self, settings: PoolSettings, io: ChannelIO[CallsT]) -> None:
        self._settings = settings
        self._io = io
        self._directory: Directory[CallsT] = Directory(settings.places, turn=random.randrange(1 << 16))  # noqa: S311
        self._lock = threading.Lock()
        # What is still to be written down. A collector of garbage that gives a lease back must not wait for the lock,
        # which its own thread may hold: whoever holds it writes that down too.
        self._reports: deque[Callable[[], Event | None]] = deque()
        self._made: weakref.WeakSet[CallsT] = weakref.WeakSet()
        self._closed = False
        self.resolved: Future[None] = Future()  # done once each name was looked up
        if self._directory.resolved:
            self.resolved.set_result(None)

    def acquire(self, avoid: Collection[str]) -> Lease[CallsT]:
        """A lease of the endpoint that suits best. Starts the lookups and probes that are due."""
        self._write_down()
        now = self._settings.clock()
        with self._lock:
            lease = self._lease(self._directory.choose(avoid), now)
            lookups = self._directory.begin_lookups(now)
            probes = self._directory.begin_probes(now)
        self._write_down()
        self._start(lookups)
        for endpoint in probes:
            self._probe(endpoint)
        return lease

    def lease_of(self, endpoint: str) -> Lease[CallsT] | None:
        """A lease of that endpoint, whatever its standing; None if it is not there."""
        self._write_down()
        with self._lock:
            found = self._directory.find(endpoint)
            lease = None if found is None else self._lease(found, self._settings.clock())
        self._write_down()
        return lease

    def look_up(self) -> None:
        """Start the lookups that are due."""
        with self._lock:
            lookups = self._directory.begin_lookups(self._settings.clock())
        self._write_down()
        self._start(lookups)

    def statuses(self) -> list[EndpointStatus]:
        self._write_down()
        with self._lock:
            statuses = [endpoint.status for endpoint in self._directory.endpoints]
        self._write_down()
        return statuses

    def close(self) -> list[CallsT]:
        """Hand out no more leases. Returns the RPCs of all channels that there still are, for their closing."""
        with self._lock:
            self._closed = True
            made = list(self._made)
        self._write_down()
        return made

    def share_stream(self, lease: Lease[CallsT]) -> None:
        self._report(partial(self._stream_shared, lease))

    def take_back(self, lease: Lease[CallsT], failed: Failed) -> None:
        self._report(partial(self._taken_back, lease, failed))

    def _lease(self, endpoint: Endpoint[CallsT], now: float) -> Lease[CallsT]:
        if self._closed:
            raise RuntimeError("this client is closed")
        channel = self._channel(endpoint, now)
        channel.streams += 1
        endpoint.in_flight += 1
        return Lease(self, endpoint, channel, now)

    def _channel(self, endpoint: Endpoint[CallsT], now: float) -> PooledChannel[CallsT]:
        security = self._settings.dialer.security(now)

        def dial(extra: bool) -> CallsT:
            calls = self._io.dial(endpoint.address, security, extra)
            self._made.add(calls)
            return calls

        return endpoint.channel(now, security, self._settings.max_channels, dial)

    def _start(self, lookups: Sequence[Lookup]) -> None:
        for lookup in lookups:
            self._start_lookup(lookup)

    def _start_lookup(self, lookup: Lookup) -> None:
        try:
            # A thread of our own, also for asyncio: its executor's would hold up the end of the program.
            threading.Thread(target=self._look_up, args=(lookup,), name="penstock-lookup", daemon=True).start()
        except RuntimeError as error:  # the system has no more threads
            logger.warning("%s cannot be looked up: %s", lookup.name.host, error)
            self._report(partial(self._looked_up, lookup, ()))

    def _look_up(self, lookup: Lookup) -> None:
        self._report(partial(self._looked_up, lookup, resolve(lookup.name)))

    def _probe(self, endpoint: Endpoint[CallsT]) -> None:
        try:
            with self._lock:
                calls = self._channel(endpoint, self._settings.clock()).calls
            self._io.probe(calls, partial(self._probe_ended, endpoint))
        except Exception as error:  # it is no call's own, and may not end one
            logger.warning("%s cannot be probed: %s", endpoint.address.endpoint, error)
            self._probe_ended(endpoint, False)
        self._write_down()

    def _probe_ended(self, endpoint: Endpoint[CallsT], answers: bool) -> None:
        self._report(partial(self._probed, endpoint, answers))

    def _report(self, change: Callable[[], Event | None]) -> None:
        self._reports.append(change)
        self._write_down()

    def _write_down(self) -> None:
        """Apply the reports, now or through whoever holds the lock. To be called after each use of the lock."""
        while self._reports and self._lock.acquire(blocking=False):
            try:
                events = [self._reports.popleft()() for _ in range(len(self._reports))]
            finally:
                self._lock.release()
            for event in filter(None, events):
                self._settings.emit(event)

    def _stream_shared(self, lease: Lease[CallsT]) -> None:
        if lease.owns_stream and not lease.released:
            lease.owns_stream = False
            lease.channel.streams -= 1

    def _taken_back(self, lease: Lease[CallsT], failed: Failed) -> Event | None:
        if lease.released:
            return None
        lease.released = True
        now = self._settings.clock()
        lease.place.in_flight -= 1
        if lease.owns_stream:
            lease.channel.streams -= 1
            lease.channel.idle_since = now
        if failed is None:
            return None
        if failed:
            chance, leaving = random.random(), failed == "leaving"  # noqa: S311
            return self._directory.failed(lease.place, lease.began, now, chance, leaving)
        return self._directory.worked(lease.place, lease.began)

    def _looked_up(self, lookup: Lookup, addresses: Sequence[Address]) -> None:
        self._directory.looked_up(lookup, addresses, self._settings.clock())
        if self._directory.resolved and not self.resolved.done():
            self.resolved.set_result(None)

    def _probed(self, endpoint: Endpoint[CallsT], answers: bool) -> Event | None:
        return self._directory.probed(endpoint, answers, self._settings.clock(), random.random())  # noqa: S311
