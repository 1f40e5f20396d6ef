"""Channels: their options, and when they are made.

Nothing is dialled when a client is made. The first call makes the channel: one for each process (a channel does not
survive a fork) and, for asyncio, one for each running event loop (a grpc.aio channel is bound to its loop for ever).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence

import grpc
import grpc.aio

from penstock.calls import AsyncCalls, Calls
from penstock.version import __version__

Options = Sequence[tuple[str, int | str]]
OptionOverrides = Options | Mapping[str, int | str]

MIB = 1 << 20

# Health checking by the channel (healthCheckConfig) is left out on purpose: while a server says NOT_SERVING such a
# channel fails every call by itself, so that neither the server's typed refusal (LOADING, DRAINING) nor Health.Check
# gets through.
CHANNEL_OPTIONS: Options = (
    ("grpc.max_send_message_length", 32 * MIB),
    ("grpc.max_receive_message_length", 32 * MIB),
    # A silent prefill can outlast what proxies and NATs keep open, so pings go on for as long as a call waits. The
    # server must allow them (http2.min_ping_interval_without_data_ms of at most 20 s); Penstock's does.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's own backoff grows to 120 s: a client would stay blind for two minutes after an outage.
    ("grpc.initial_reconnect_backoff_ms", 300),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # http_proxy in the environment would take calls to localhost and to cluster addresses too.
    ("grpc.enable_http_proxy", 0),
    # Two clients of one process get two connections.
    ("grpc.use_local_subchannel_pool", 1),
    # Transparent retries only (the server's application never saw the call): the service config has no retryPolicy.
    ("grpc.enable_retries", 1),
    ("grpc.primary_user_agent", f"penstock-python/{__version__}"),
    ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}'),
)

# SingleThreadedUnaryStream is left out on purpose: with it (grpcio 1.85) each cancelled stream leaks about 20 KiB.


def channel_options(overrides: OptionOverrides | None = None) -> list[tuple[str, int | str]]:
    """gRPC's channel options: ours, each replaced by the override of its name, then the overrides that are new."""
    options = dict(CHANNEL_OPTIONS)
    options.update(overrides or ())
    return list(options.items())


class LazyChannel:
    """The channel of the current process, made on first use. Safe to share between threads."""

    def __init__(
        self, target: str, credentials: grpc.ChannelCredentials | None, overrides: OptionOverrides | None
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._options = channel_options(overrides)
        self._lock = threading.Lock()
        # A forked child keeps its parent's entry: destroying those objects in the child could block.
        self._calls: dict[int, Calls] = {}
        self.closed = False

    def calls(self) -> Calls:
        """The RPCs on this process's channel. RuntimeError once closed."""
        calls = self._calls.get(os.getpid())
        return calls if calls is not None else self._open()

    def _open(self) -> Calls:
        with self._lock:
            _refuse_if(self.closed)
            pid = os.getpid()
            if pid not in self._calls:
                self._calls[pid] = Calls(self._dial())
            return self._calls[pid]

    def _dial(self) -> grpc.Channel:
        if self._credentials is None:
            return grpc.insecure_channel(self._target, self._options)
        return grpc.secure_channel(self._target, self._credentials, self._options)

    def close(self) -> None:
        """Close this process's channel, which ends its open calls. Idempotent."""
        with self._lock:
            self.closed = True
            calls = self._calls.pop(os.getpid(), None)
        if calls is not None:
            calls.channel.close()


class LazyAsyncChannel:
    """The channel of the current process and running event loop, made on first use."""

    def __init__(
        self, target: str, credentials: grpc.ChannelCredentials | None, overrides: OptionOverrides | None
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._options = channel_options(overrides)
        self._lock = threading.Lock()
        self._calls: dict[tuple[int, asyncio.AbstractEventLoop], AsyncCalls] = {}
        self.closed = False

    def calls(self) -> AsyncCalls:
        """The RPCs on the channel of this process and loop. RuntimeError once closed or without a running loop."""
        key = (os.getpid(), asyncio.get_running_loop())
        calls = self._calls.get(key)
        return calls if calls is not None else self._open(key)

    def _open(self, key: tuple[int, asyncio.AbstractEventLoop]) -> AsyncCalls:
        with self._lock:
            _refuse_if(self.closed)
            self._forget_finished_loops()
            if key not in self._calls:
                self._calls[key] = AsyncCalls(self._dial())
            return self._calls[key]

    def _dial(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._target, self._options)
        return grpc.aio.secure_channel(self._target, self._credentials, self._options)

    def _forget_finished_loops(self) -> None:
        pid = os.getpid()
        for key in [key for key in self._calls if key[0] == pid and key[1].is_closed()]:
            del self._calls[key]

    async def close(self) -> None:
        """Close the channel of this process and loop, which ends its open calls. Idempotent."""
        with self._lock:
            self.closed = True
            self._forget_finished_loops()
            calls = self._calls.pop((os.getpid(), asyncio.get_running_loop()), None)
        if calls is not None:
            await calls.close()


def _refuse_if(closed: bool) -> None:
    if closed:
        raise RuntimeError("this client is closed")
