"""The blocking transport: requests in, replies and errors of ours out."""

from __future__ import annotations

from typing import TypeVar

import grpc
from google.protobuf.message import Message

from penstock.call_options import CLIENT_DEFAULT, CallOptions, MetadataLike, Pairs, TimeoutLike
from penstock.calls import Calls
from penstock.channel import LazyChannel
from penstock.chunk_calls import ChunkCall, StreamCall
from penstock.reply import Reply
from penstock.sessions.blocking_call import BlockingCall
from penstock.sessions.riding import Riding, SessionsLike, start_message
from penstock.statuses import from_rpc_error
from penstock.stream import Stream
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


class Transport:
    """Sends requests over a lazily made channel."""

    def __init__(self, channel: LazyChannel, options: CallOptions, sessions: SessionsLike) -> None:
        self._channel = channel
        self._riding = Riding(sessions, options.metadata(None))
        self.options = options

    def generate(
        self, request: GenerateRequest, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> Reply:
        rpc = self._channel.calls().generate
        return Reply(self._unary(rpc, request, timeout, metadata, request.request_id))

    def embed(self, request: EmbedRequest, timeout: TimeoutLike, metadata: MetadataLike | None) -> EmbedResponse:
        return self._unary(self._channel.calls().embed, request, timeout, metadata, request.request_id)

    def tokenize(
        self, request: TokenizeRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> TokenizeResponse:
        return self._unary(self._channel.calls().tokenize, request, timeout, metadata)

    def detokenize(
        self, request: DetokenizeRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> DetokenizeResponse:
        return self._unary(self._channel.calls().detokenize, request, timeout, metadata)

    def estimate(
        self, request: EstimateRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> EstimateResponse:
        return self._unary(self._channel.calls().estimate, request, timeout, metadata)

    def stream(
        self, request: GenerateRequest, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> Stream:
        deadline, pairs = self.options.timeout(timeout), self.options.metadata(metadata)
        return Stream(self._begin(self._channel.calls(), request, deadline, pairs), request.request_id)

    def _begin(self, calls: Calls, request: GenerateRequest, timeout: float | None, metadata: Pairs) -> ChunkCall:
        def open_apart(timeout: float | None) -> StreamCall:
            call = calls.stream_generate(request, timeout=timeout, metadata=metadata)
            return StreamCall(call, calls, request.request_id)

        if calls.sessions.support.missing or not self._riding.suits(request, metadata, len(calls.open_streams)):
            return open_apart(timeout)
        call = BlockingCall(calls, request.request_id, timeout, open_apart)
        calls.sessions.start(call, start_message(request, timeout, metadata), self._riding.session_metadata)
        return call

    def list_models(self, timeout: TimeoutLike, metadata: MetadataLike | None) -> ListModelsResponse:
        return self._unary(self._channel.calls().list_models, ListModelsRequest(), timeout, metadata)

    def get_model(self, request: GetModelRequest, timeout: TimeoutLike, metadata: MetadataLike | None) -> Model:
        return self._unary(self._channel.calls().get_model, request, timeout, metadata)

    def load_adapter(
        self, request: LoadAdapterRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> LoadAdapterResponse:
        return self._unary(self._channel.calls().load_adapter, request, timeout, metadata)

    def unload_adapter(
        self, request: UnloadAdapterRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> UnloadAdapterResponse:
        return self._unary(self._channel.calls().unload_adapter, request, timeout, metadata)

    def set_alias(
        self, request: SetAliasRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> SetAliasResponse:
        return self._unary(self._channel.calls().set_alias, request, timeout, metadata)

    def health(
        self, request: HealthCheckRequest, timeout: TimeoutLike, metadata: MetadataLike | None
    ) -> HealthCheckResponse:
        return self._unary(self._channel.calls().health, request, timeout, metadata)

    def close(self) -> None:
        self._channel.close()

    def _unary(
        self,
        rpc: grpc.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        timeout: TimeoutLike,
        metadata: MetadataLike | None,
        request_id: str = "",
    ) -> ResponseT:
        deadline, pairs = self.options.timeout(timeout), self.options.metadata(metadata)
        try:
            return rpc(request, timeout=deadline, metadata=pairs)
        except grpc.RpcError as error:
            raise from_rpc_error(error, request_id or None) from error
