"""The endpoints of a blocking client."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable, Collection

import grpc

from penstock import forks
from penstock.calls import Calls
from penstock.channel import Dialer, Security
from penstock.endpoints.endpoint import EndpointStatus
from penstock.endpoints.home import Home
from penstock.endpoints.lease import Lease
from penstock.endpoints.probe import PROBE, PROBE_SECONDS, takes_calls
from penstock.endpoints.settings import PoolSettings
from penstock.endpoints.targets import Address
from penstock.v1.mirrors_pb2 import HealthCheckResponse


class EndpointPool:
    """Made without dialling anything; each process that uses it has connections of its own. Threads may share it."""

    def __init__(self, settings: PoolSettings) -> None:
        self._settings = settings
        # A forked child keeps its parent's entry: destroying those objects in the child could block.
        self._homes: dict[int, Home[Calls]] = {}
        self.closed = False
        self.renew_locks()
        forks.renew_locks_of(self)

    def renew_locks(self) -> None:
        self._sleepers: set[threading.Event] = set()

    def resolved(self, timeout: float | None = None) -> None:
        """Wait until each name of the target was looked up once, for at most `timeout` seconds.

        Without it, or if that takes longer, calls go through gRPC's own name resolution.
        """
        home = self._home()
        if not home.resolved.done():
            home.look_up()
            concurrent.futures.wait([home.resolved], timeout)

    def acquire(self, avoid: Collection[str] = ()) -> Lease[Calls]:
        """A lease of the endpoint with the fewest calls in flight; of one in `avoid`, or ejected, if there is no other.

        RuntimeError once closed.
        """
        return self._home().acquire(avoid)

    def lease_of(self, endpoint: str) -> Lease[Calls] | None:
        """A lease of that endpoint, also if it is ejected; None if it is not among the target's (any more)."""
        return self._home().lease_of(endpoint)

    def sleep(self, seconds: float, woken: threading.Event) -> None:
        """Until somebody sets `woken`, or closes the pool."""
        self._sleepers.add(woken)
        try:
            if not self.closed:
                woken.wait(seconds)
        finally:
            self._sleepers.discard(woken)

    def endpoints(self) -> list[EndpointStatus]:
        """How each endpoint stands; nothing once closed, which a call that ends by that may find out while it asks."""
        home = self._homes.get(os.getpid())
        if home is None and self.closed:
            return []
        return (home or self._home()).statuses()

    def close(self) -> None:
        """Close this process's channels, which ends their open calls. Idempotent."""
        self.closed = True
        for woken in list(self._sleepers):
            woken.set()
        home = self._homes.pop(os.getpid(), None)
        for calls in home.close() if home is not None else ():
            calls.close()

    def _home(self) -> Home[Calls]:
        pid = os.getpid()
        home = self._homes.get(pid)
        if home is None:
            if self.closed:
                raise RuntimeError("this client is closed")
            home = self._homes.setdefault(pid, Home(self._settings, BlockingIO(self._settings.dialer)))
        return home


class BlockingIO:
    """Channels for threads, and probes that are read by gRPC's own."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    def dial(self, address: Address, security: Security, extra: bool) -> Calls:
        return Calls(self._dialer.channel(address, security, extra))

    def probe(self, calls: Calls, report: Callable[[bool], None]) -> None:
        def ended(answer: grpc.Future[HealthCheckResponse]) -> None:
            _ = calls  # grpc ends a call whose channel nobody holds
            status = call.code()
            report(takes_calls(status, call.result() if status is grpc.StatusCode.OK else None))

        call = calls.health.future(PROBE, timeout=PROBE_SECONDS, wait_for_ready=True)
        call.add_done_callback(ended)
