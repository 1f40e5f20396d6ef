"""What a stream reads its chunks from: a call of its own, here, or a call of a session (penstock.sessions)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import grpc
import grpc.aio

from penstock.cancellation import client_closed, times_cancelled
from penstock.statuses import from_rpc_error
from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest, ResumeRequest

if TYPE_CHECKING:
    from grpc import _CallIterator

    from penstock.calls import AsyncCalls, Calls

    GrpcCall = _CallIterator[GenerateChunk]
    GrpcAioCall = (
        grpc.aio.UnaryStreamCall[GenerateRequest, GenerateChunk]
        | grpc.aio.UnaryStreamCall[ResumeRequest, GenerateChunk]
    )


class ChunkCall(Protocol):
    """One streaming call. One thread reads; any may cancel, also a collector of garbage."""

    def read(self) -> GenerateChunk | None:
        """The next chunk; None after the last. Raises APIError."""

    def cancel(self) -> None:
        """The caller is done with the call: end it if it still runs. Wakes the reader."""


class AsyncChunkCall(Protocol):
    """One streaming call, bound to its event loop."""

    async def read(self) -> GenerateChunk | None:
        """The next chunk; None after the last. Raises APIError."""

    def cancel(self) -> None:
        """The caller is done with the call: end it if it still runs. Wakes the reader."""


class Ended:
    """A call that has ended well."""

    def read(self) -> None:
        """After the last chunk."""

    def cancel(self) -> None:
        """There is nothing to end."""


class AsyncEnded:
    """A call that has ended well, for asyncio."""

    async def read(self) -> None:
        """After the last chunk."""

    def cancel(self) -> None:
        """There is nothing to end."""


class StreamCall:
    """A StreamGenerate of its own."""

    def __init__(self, call: GrpcCall, calls: Calls, request_id: str) -> None:
        self._call = call
        self._calls = calls  # grpc ends a call whose channel nobody holds
        self._request_id = request_id or None
        calls.open_streams.add(self)

    def read(self) -> GenerateChunk | None:
        try:
            return next(self._call, None)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._request_id) from error

    def cancel(self) -> None:
        self._calls.open_streams.discard(self)
        self._call.cancel()


class AsyncStreamCall:
    """A StreamGenerate of its own, for asyncio."""

    def __init__(self, call: GrpcAioCall, calls: AsyncCalls, request_id: str) -> None:
        self._call = call
        self._calls = calls
        self._request_id = request_id or None
        calls.open_streams.add(self)
        self._cancelled = False

    async def read(self) -> GenerateChunk | None:
        cancelled_before = times_cancelled()
        try:
            # Not `async for` over the call: that would tie the call and an async generator into a cycle.
            chunk = await self._call.read()
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._request_id) from error
        except asyncio.CancelledError:
            # grpc.aio raises this both for a call that was cancelled here, which is ours, and for a cancelled caller.
            if (self._cancelled or self._calls.closed) and times_cancelled() == cancelled_before:
                raise client_closed(self._request_id) from None
            raise
        return chunk if isinstance(chunk, GenerateChunk) else None  # the other thing it can be is EOF

    def cancel(self) -> None:
        self._cancelled = True
        self._calls.open_streams.discard(self)
        self._call.cancel()
