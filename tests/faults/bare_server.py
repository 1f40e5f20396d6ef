"""A grpc.aio server with nothing of ours behind it: what gRPC itself leaves in a process. Each call takes for ever.

python -m tests.faults.bare_server      tells its port as `penstock-serve` does
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import grpc
import uvloop

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationServicer, add_GenerationServicer_to_server


class Endless(GenerationServicer):
    """Says one token at most."""

    async def Generate(self, request: pb.GenerateRequest, context: object) -> pb.GenerateResponse:
        await asyncio.Event().wait()
        return pb.GenerateResponse()

    async def StreamGenerate(self, request: pb.GenerateRequest, context: object) -> AsyncIterator[pb.GenerateChunk]:
        yield pb.GenerateChunk(deltas=[{"text": "Hello"}])
        await asyncio.Event().wait()


async def main() -> None:
    server = grpc.aio.server()
    add_GenerationServicer_to_server(Endless(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    for line in ({"event": "listening", "grpc_port": port, "health_port": port}, {"event": "loaded"}):
        print(json.dumps(line), file=sys.stderr, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
