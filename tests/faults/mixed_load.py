"""Calls of all kinds, those that go wrong among them, and what each of them must come to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Any, Self

import grpc

from penstock import APIError, AsyncClient
from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from tests.faults.small_window import SMALL_WINDOW

# In hundredths of all calls.
KINDS = {"unary": 24, "stream": 35, "session": 20, "cancel": 10, "deadline": 5, "bad": 5, "slow": 1}
# Each kind's ways to end. A busy server may refuse whatever it is (REFUSED), or let a slow reader's deadline pass
# before it notices that nobody reads.
REFUSED = "RESOURCE_EXHAUSTED"
OUTCOMES = {
    "unary": {"OK"},
    "stream": {"OK"},
    "session": {"OK"},
    "cancel": {"CANCELLED"},
    "deadline": {"DEADLINE_EXCEEDED"},
    "bad": {"INVALID_ARGUMENT"},
    "slow": {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"},
}
TOKENS = (8, 64)
PATIENCE_SECONDS = 30.0
SLOW_SECONDS = 8.0  # longer than the server waits for its readers


class MixedLoad:
    """The callers of one server; `async with` closes their connections."""

    def __init__(self, address: str, rng: Random, kinds: Mapping[str, int] = KINDS) -> None:
        self.outcomes: Counter[str] = Counter()  # by kind and status
        self.surprises: list[str] = []
        self._rng = rng
        self._weights = kinds
        self._address = address
        self._client = AsyncClient(address, sessions="always")
        self._channel = grpc.aio.insecure_channel(address)
        self._stub: Any = GenerationStub(self._channel)
        self._kinds: dict[str, Callable[[pb.GenerateRequest], Awaitable[str]]] = {
            "unary": self._unary,
            "stream": self._stream,
            "session": self._session,
            "cancel": self._cancel,
            "deadline": self._deadline,
            "bad": self._bad,
            "slow": self._slow,
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()
        await self._channel.close()

    async def call(self, _due: float) -> None:
        """One call of a kind that chance takes."""
        (kind,) = self._rng.choices(list(self._weights), list(self._weights.values()))
        stopping = {"max_tokens": self._rng.randint(*TOKENS), "ignore_eos": True}
        outcome = await self._kinds[kind](pb.GenerateRequest(prompt=f"Hello {self._rng.random()}", stopping=stopping))
        self.outcomes[f"{kind} {outcome}"] += 1
        if outcome not in {*OUTCOMES[kind], REFUSED}:
            self.surprises.append(f"{kind} {outcome}")

    async def _unary(self, request: pb.GenerateRequest) -> str:
        return await _outcome(self._stub.Generate(request, timeout=PATIENCE_SECONDS))

    async def _stream(self, request: pb.GenerateRequest) -> str:
        return await _outcome(self._stub.StreamGenerate(request, timeout=PATIENCE_SECONDS))

    async def _session(self, request: pb.GenerateRequest) -> str:
        try:
            tokens = request.stopping.max_tokens
            await self._client.stream(request.prompt, max_tokens=tokens, ignore_eos=True).reply()
        except APIError as error:
            return error.status.name
        return "OK"

    async def _cancel(self, request: pb.GenerateRequest) -> str:
        request.stopping.max_tokens = 4000
        call = self._stub.StreamGenerate(request, timeout=PATIENCE_SECONDS)
        with suppress(grpc.aio.AioRpcError):
            for _ in range(self._rng.randint(0, 3)):
                await call.read()
        call.cancel()
        return (await call.code()).name

    async def _deadline(self, request: pb.GenerateRequest) -> str:
        request.stopping.max_tokens = 4000
        return await _outcome(self._stub.StreamGenerate(request, timeout=self._rng.uniform(0.05, 1)))

    async def _bad(self, request: pb.GenerateRequest) -> str:
        request.sampling.temperature = -1
        return await _outcome(self._stub.StreamGenerate(request, timeout=PATIENCE_SECONDS))

    async def _slow(self, request: pb.GenerateRequest) -> str:
        request.stopping.max_tokens = 4000
        request.response.token_ids = True
        async with grpc.aio.insecure_channel(self._address, options=SMALL_WINDOW) as channel:
            call = GenerationStub(channel).StreamGenerate(request, timeout=PATIENCE_SECONDS)
            with suppress(grpc.aio.AioRpcError):
                await call.read()
                await asyncio.sleep(SLOW_SECONDS)
            return await _outcome(call)


async def _outcome(call: Any) -> str:
    """How the call ends once it is read."""
    with suppress(grpc.aio.AioRpcError):
        if isinstance(call, grpc.aio.UnaryStreamCall):
            while await call.read() is not grpc.aio.EOF:
                pass
        else:
            await call
    code: grpc.StatusCode = await call.code()
    return code.name
