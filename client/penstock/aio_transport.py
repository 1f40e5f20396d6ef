"""The asyncio transport: requests in, replies and errors of ours out."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from penstock.call_options import CLIENT_DEFAULT, CallOptions, MetadataLike, Pairs, TimeoutLike
from penstock.calls import AsyncCalls
from penstock.cancellation import being_cancelled, client_closed
from penstock.channel import LazyAsyncChannel
from penstock.chunk_calls import AsyncChunkCall, AsyncStreamCall
from penstock.reply import Reply
from penstock.sessions.asyncio_call import AsyncioCall
from penstock.sessions.riding import Riding, SessionsLike, start_message
from penstock.statuses import from_rpc_error
from penstock.stream import AsyncStream
from penstock.v1.generation_pb2 import (
    DetokenizeRequest,
    DetokenizeResponse,
    EmbedRequest,
    EmbedResponse,
    EstimateRequest,
    EstimateResponse,
    GenerateRequest,
    TokenizeRequest,
    TokenizeResponse,
)
from penstock.v1.mirrors_pb2 import HealthCheckRequest, HealthCheckResponse
from penstock.v1.models_pb2 import (
    GetModelRequest,
    ListModelsRequest,
    ListModelsResponse,
    LoadAdapterRequest,
    LoadAdapterResponse,
    Model,
    SetAliasRequest,
    SetAliasResponse,
    UnloadAdapterRequest,
    UnloadAdapterResponse,
)

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


class AsyncTransport:
    """Sends requests over a lazily made channel of the running loop."""

    def __init__(self, channel: LazyAsyncChannel, options: CallOptions, sessions: SessionsLike) -> None:
        self._channel = channel
        self._riding = Riding(sessions, options.metadata(None))
        self.options = options

    async def generate(
        self, request: GenerateRequest, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> Reply:
        rpc = self._channel.calls().generate
        return Reply(await self._unary(rpc, request, timeout, metadata, request.request_id))

    async def embed(self, request: EmbedRequest, timeout: TimeoutLike, metadata: MetadataLike | None) -> EmbedResponse:
        return await self._unary(self._channel.calls().embed, request, timeout, metadata, request.request_id)

    async def tokenize(
        self, request: TokenizeRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> TokenizeResponse:
        return await self._unary(self._channel.calls().tokenize, request, timeout, metadata)

    async def detokenize(
        self, request: DetokenizeRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> DetokenizeResponse:
        return await self._unary(self._channel.calls().detokenize, request, timeout, metadata)

    async def estimate(
        self, request: EstimateRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> EstimateResponse:
        return await self._unary(self._channel.calls().estimate, request, timeout, metadata)

    def stream(
        self, request: GenerateRequest, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> AsyncStream:
        deadline, pairs = self.options.timeout(timeout), self.options.metadata(metadata)
        return AsyncStream(self._begin(self._channel.calls(), request, deadline, pairs), request.request_id)

    def _begin(
        self, calls: AsyncCalls, request: GenerateRequest, timeout: float | None, metadata: Pairs
    ) -> AsyncChunkCall:
        def open_apart(timeout: float | None) -> AsyncStreamCall:
            call = calls.stream_generate(request, timeout=timeout, metadata=metadata)
            return AsyncStreamCall(call, calls, request.request_id)

        if calls.sessions.support.missing or not self._riding.suits(request, metadata, len(calls.open_streams)):
            return open_apart(timeout)
        call = AsyncioCall(calls, request.request_id, timeout, open_apart)
        calls.sessions.start(call, start_message(request, timeout, metadata), self._riding.session_metadata)
        return call

    async def list_models(self, timeout: TimeoutLike, metadata: MetadataLike | None) -> ListModelsResponse:
        return await self._unary(self._channel.calls().list_models, ListModelsRequest(), timeout, metadata)

    async def get_model(self, request: GetModelRequest, timeout: TimeoutLike, metadata: MetadataLike | None) -> Model:
        return await self._unary(self._channel.calls().get_model, request, timeout, metadata)

    async def load_adapter(
        self, request: LoadAdapterRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> LoadAdapterResponse:
        return await self._unary(self._channel.calls().load_adapter, request, timeout, metadata)

    async def unload_adapter(
        self, request: UnloadAdapterRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> UnloadAdapterResponse:
        return await self._unary(self._channel.calls().unload_adapter, request, timeout, metadata)

    async def set_alias(
        self, request: SetAliasRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> SetAliasResponse:
        return await self._unary(self._channel.calls().set_alias, request, timeout, metadata)

    async def health(
        self, request: HealthCheckRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> HealthCheckResponse:
        return await self._unary(self._channel.calls().health, request, timeout, metadata)

    async def close(self) -> None:
        await self._channel.close()

    async def _unary(
        self,
        rpc: grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        timeout: TimeoutLike,
        metadata: MetadataLike | None,
        request_id: str = "",
    ) -> ResponseT:
        deadline, pairs = self.options.timeout(timeout), self.options.metadata(metadata)
        try:
            return await rpc(request, timeout=deadline, metadata=pairs)
        except grpc.RpcError as error:
            raise from_rpc_error(error, request_id or None) from error
        except asyncio.CancelledError:
            # Closing the channel cancels its calls, which grpc.aio reports like a cancelled caller.
            if self._channel.closed and not being_cancelled():
                raise client_closed(request_id or None) from None
            raise
