"""Loads a server with one Session: `python session_load.py TARGET CALLS STREAMS FILE`, with the serialized request.

As h2load does for StreamGenerate: it keeps so many calls open, reads what comes and understands no more than it must.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import uvloop

from penstock.v1.generation_pb2 import GenerateRequest, SessionRequest, SessionResponse
from penstock.v1.generation_pb2_grpc import GenerationStub


async def main(target: str, calls: int, streams: int, request: GenerateRequest) -> None:
    """Run `calls` calls, `streams` at a time; print how many succeeded."""
    async with grpc.aio.insecure_channel(target) as channel:
        session = GenerationStub(channel).Session()
        started = succeeded = 0
        for _ in range(min(streams, calls)):
            started += 1
            await session.write(SessionRequest(start={"call": started, "request": request}))
        async for response in _responses(session):
            for end in response.ends:
                succeeded += not end.HasField("status")
                if started < calls:
                    started += 1
                    await session.write(SessionRequest(start={"call": started, "request": request}))
            if succeeded == calls:
                break
        await session.done_writing()
    print(f"{succeeded} succeeded")


async def _responses(session: AsyncIterator[SessionResponse]) -> AsyncIterator[SessionResponse]:
    async for response in session:
        yield response


if __name__ == "__main__":
    target, calls, streams, file = sys.argv[1:]
    uvloop.run(main(target, int(calls), int(streams), GenerateRequest.FromString(Path(file).read_bytes())))
