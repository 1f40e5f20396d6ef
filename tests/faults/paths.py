"""The connections of the chaos run's callers: some directly, some through proxies, some with a small window."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any, NamedTuple

import grpc
from google.rpc import error_details_pb2, status_pb2

from penstock import AsyncClient, Retry
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.faults.history import End
from tests.faults.small_window import SMALL_WINDOW

_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 300),
    ("grpc.use_local_subchannel_pool", 1),  # each channel has a connection of its own
    ("grpc.enable_retries", 0),  # which would hide what happens to a call
]
_RETRY = Retry(attempts=6, base=0.02, cap=0.3, budget=None)
_CLIENT_SECONDS = 30.0
_CHANNELS = 3  # a broken connection takes a third of the calls of its path with it


class Path(NamedTuple):
    """A way to the server."""

    name: str
    stubs: Iterator[Any]
    unread: Any  # a stub whose connection has a small window
    client: AsyncClient  # ours, with its retries and its resuming on


class Paths:
    """All ways to the server; `async with` closes them."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self._channels: list[grpc.aio.Channel] = []
        self.all = [self._path(name, address) for name, address in addresses.items()]

    async def __aenter__(self) -> Paths:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(path.client.close() for path in self.all))
        await asyncio.gather(*(channel.close() for channel in self._channels))
        self.all.clear()
        self._channels.clear()
        gc.collect()  # a connection lives as long as any RPC of it, finished or not, is referred to

    def _path(self, name: str, address: str) -> Path:
        stubs = [self._stub(address, []) for _ in range(_CHANNELS)]
        client = AsyncClient(address, resume=True, retry=_RETRY, timeout=_CLIENT_SECONDS)
        return Path(name, cycle(stubs), self._stub(address, SMALL_WINDOW), client)

    def _stub(self, address: str, options: list[tuple[str, int]]) -> Any:
        channel = grpc.aio.insecure_channel(address, options=[*_OPTIONS, *options])
        self._channels.append(channel)
        stub: Any = GenerationStub(channel)
        stub.raw = channel.unary_unary("/penstock.v1.Generation/Generate")
        return stub


async def end_of(rpc: grpc.aio.Call) -> End:
    """The terminal status of an RPC, once it is there."""
    code, text = await rpc.code(), await rpc.details() or ""
    trailers: dict[str, Any] = dict(await rpc.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    # At its deadline an RPC may have the server's trailers already, and still its own status.
    reason = reason_of(status.details) if status.code == code.value[0] else ""
    return End(time.monotonic(), code, reason, text, str(trailers.get("grpc-retry-pushback-ms", "")))


def reason_of(details: Any) -> str:
    """The reason in a status's ErrorInfo, if it has one of ours."""
    info = error_details_pb2.ErrorInfo()
    for detail in details:
        if detail.type_url.endswith("google.rpc.ErrorInfo"):
            info.ParseFromString(detail.value)
    return info.reason if info.domain == "penstock" else ""
