"""One stream as its caller sees it, from the moment that it was due."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from penstock.v1 import generation_pb2 as pb
from tests.rpc.error_details import failure_of


@dataclass(slots=True)
class StreamedCall:
    """Moments are of time.monotonic(); None for what never came."""

    due: float
    sent: float
    ended: float = 0.0
    first: float | None = None
    last: float | None = None
    tokens: int = 0
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    retry_after: float | None = None
    pushback: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.code is grpc.StatusCode.OK

    @property
    def first_token_seconds(self) -> float | None:
        return None if self.first is None else self.first - self.due

    @property
    def inter_token_seconds(self) -> float:
        """The mean time from token to token; 0 with fewer than two."""
        if self.first is None or self.last is None or self.tokens < 2:
            return 0.0
        return (self.last - self.first) / (self.tokens - 1)


async def streamed_call(
    stub: Any,
    request: pb.GenerateRequest,
    due: float,
    metadata: Sequence[tuple[str, str]] = (),
    timeout: float = 60,
    begun: Callable[[], object] = lambda: None,
) -> StreamedCall:
    """Read a stream to its end, whatever that is. `begun` is called with each chunk, and at the end."""
    seen = StreamedCall(due, time.monotonic())
    rpc = stub.StreamGenerate(request, metadata=metadata, timeout=timeout)
    try:
        async for chunk in rpc:
            seen.last = time.monotonic()
            seen.first = seen.first or seen.last
            seen.tokens = chunk.usage.completion_tokens or seen.tokens
            begun()
    except grpc.aio.AioRpcError:
        await _note_failure(rpc, seen)
    seen.ended = time.monotonic()
    begun()
    return seen


async def _note_failure(rpc: grpc.aio.UnaryStreamCall, seen: StreamedCall) -> None:
    failure = await failure_of(rpc)
    seen.code, seen.reason, seen.retry_after = failure.code, failure.reason, failure.retry_after
    trailers = dict(await rpc.trailing_metadata() or ())
    seen.pushback = trailers.get("grpc-retry-pushback-ms")
