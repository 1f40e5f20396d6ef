"""A caller that waits to be killed: python -m tests.faults.doomed_caller ADDRESS NAME CALLS

It opens so many long streams, with request ids NAME-0, NAME-1, ..., and reads them all.
"""

from __future__ import annotations

import asyncio
import sys

import grpc

from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub


async def main(address: str, name: str, calls: int) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = GenerationStub(channel)
        await asyncio.gather(*(_read(stub, f"{name}-{number}") for number in range(calls)))


async def _read(stub: GenerationStub, name: str) -> None:
    stopping = {"max_tokens": 1 << 20, "ignore_eos": True}
    async for _ in stub.StreamGenerate(pb.GenerateRequest(prompt="Hello", stopping=stopping, request_id=name)):
        pass


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
