"""Begins a stream's call at one replica: on an RPC of its own, or as a call of a session."""

from __future__ import annotations

from penstock.call_options import Pairs
from penstock.calls import AsyncCalls, Calls
from penstock.cancellation import client_closed, refused_if_closed
from penstock.chunk_calls import AsyncChunkCall, AsyncStreamCall, ChunkCall, StreamCall
from penstock.endpoints.lease import Lease
from penstock.sessions.asyncio_call import AsyncioCall
from penstock.sessions.blocking_call import BlockingCall
from penstock.sessions.riding import Riding, start_message
from penstock.v1.generation_pb2 import GenerateRequest


def begin(
    lease: Lease[Calls], request: GenerateRequest, timeout: float | None, metadata: Pairs, riding: Riding
) -> ChunkCall:
    calls = lease.calls

    def apart(timeout: float | None) -> StreamCall:
        call = calls.stream_generate(request, timeout=timeout, metadata=metadata)
        return StreamCall(call, calls, request.request_id)

    with refused_if_closed(calls, request.request_id or None):
        if calls.sessions.support.missing or not riding.suits(request, metadata, len(calls.open_streams)):
            return apart(timeout)
        lease.share_stream()
        call = BlockingCall(calls, request.request_id, timeout, apart)
        calls.sessions.start(call, start_message(request, timeout, metadata), riding.session_metadata)
        return call


def begin_async(
    lease: Lease[AsyncCalls], request: GenerateRequest, timeout: float | None, metadata: Pairs, riding: Riding
) -> AsyncChunkCall:
    calls = lease.calls
    if calls.closed:
        raise client_closed(request.request_id or None)

    def apart(timeout: float | None) -> AsyncStreamCall:
        call = calls.stream_generate(request, timeout=timeout, metadata=metadata)
        return AsyncStreamCall(call, calls, request.request_id)

    if calls.sessions.support.missing or not riding.suits(request, metadata, len(calls.open_streams)):
        return apart(timeout)
    lease.share_stream()
    call = AsyncioCall(calls, request.request_id, timeout, apart)
    calls.sessions.start(call, start_message(request, timeout, metadata), riding.session_metadata)
    return call
