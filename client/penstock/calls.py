"""The RPCs of one channel, in both flavours."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import grpc
import grpc.aio

from penstock.chunk_calls import AsyncChunkCall, ChunkCall
from penstock.sessions.asyncio_call import AsyncioCall
from penstock.sessions.asyncio_session import AsyncioSession
from penstock.sessions.blocking import BlockingSession
from penstock.sessions.blocking_call import BlockingCall
from penstock.sessions.pool import SessionPool
from penstock.v1.generation_pb2 import (
    CancelRequest,
    CancelResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    EmbedRequest,
    EmbedResponse,
    EstimateRequest,
    EstimateResponse,
    GenerateChunk,
    GenerateRequest,
    GenerateResponse,
    GenerationStatus,
    GetGenerationRequest,
    ResumeRequest,
    TokenizeRequest,
    TokenizeResponse,
)
from penstock.v1.generation_pb2_grpc import GenerationStub
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
from penstock.v1.models_pb2_grpc import ModelsStub

# Called by its name with mirror messages, because grpcio-health-checking would be one more dependency.
HEALTH_CHECK = "/grpc.health.v1.Health/Check"


class Calls:
    """The RPCs on a blocking channel.

    open_streams: the streams that the caller is not done with. settling: set when the channel closes.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self.connected = False  # once; later losses of the connection are gRPC's to mend
        self.open_streams: set[ChunkCall] = set()  # sets change in one step: collecting garbage may come between
        self.settling: set[threading.Event] = set()
        self.closed = False
        generation = GenerationStub(channel)
        models = ModelsStub(channel)
        self.channel = channel
        self.generate: grpc.UnaryUnaryMultiCallable[GenerateRequest, GenerateResponse] = generation.Generate
        self.stream_generate: grpc.UnaryStreamMultiCallable[GenerateRequest, GenerateChunk] = generation.StreamGenerate
        self.resume: grpc.UnaryStreamMultiCallable[ResumeRequest, GenerateChunk] = generation.Resume
        self.cancel: grpc.UnaryUnaryMultiCallable[CancelRequest, CancelResponse] = generation.Cancel
        self.embed: grpc.UnaryUnaryMultiCallable[EmbedRequest, EmbedResponse] = generation.Embed
        self.tokenize: grpc.UnaryUnaryMultiCallable[TokenizeRequest, TokenizeResponse] = generation.Tokenize
        self.detokenize: grpc.UnaryUnaryMultiCallable[DetokenizeRequest, DetokenizeResponse] = generation.Detokenize
        self.estimate: grpc.UnaryUnaryMultiCallable[EstimateRequest, EstimateResponse] = generation.Estimate
        self.get_generation: grpc.UnaryUnaryMultiCallable[GetGenerationRequest, GenerationStatus] = (
            generation.GetGeneration
        )
        self.list_models: grpc.UnaryUnaryMultiCallable[ListModelsRequest, ListModelsResponse] = models.ListModels
        self.get_model: grpc.UnaryUnaryMultiCallable[GetModelRequest, Model] = models.GetModel
        self.load_adapter: grpc.UnaryUnaryMultiCallable[LoadAdapterRequest, LoadAdapterResponse] = models.LoadAdapter
        self.unload_adapter: grpc.UnaryUnaryMultiCallable[UnloadAdapterRequest, UnloadAdapterResponse] = (
            models.UnloadAdapter
        )
        self.set_alias: grpc.UnaryUnaryMultiCallable[SetAliasRequest, SetAliasResponse] = models.SetAlias
        self.health: grpc.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
            HEALTH_CHECK, HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        self.sessions: SessionPool[BlockingSession, BlockingCall] = SessionPool(
            partial(BlockingSession, generation.Session)
        )

    def close(self) -> None:
        """Close the channel, which ends the open calls."""
        self.closed = True
        for settled in list(self.settling):
            settled.set()
        for session in list(self.sessions.sessions):
            session.close()
        self.channel.close()


class AsyncCalls:
    """The RPCs on an asyncio channel. `open_streams` are the streams that the caller is not done with."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.connected = False  # once; later losses of the connection are gRPC's to mend
        self.open_streams: set[AsyncChunkCall] = set()
        self.closed = False
        generation = GenerationStub(channel)
        models = ModelsStub(channel)
        self.channel = channel
        self.generate: grpc.aio.UnaryUnaryMultiCallable[GenerateRequest, GenerateResponse] = generation.Generate
        self.stream_generate: grpc.aio.UnaryStreamMultiCallable[GenerateRequest, GenerateChunk] = (
            generation.StreamGenerate
        )
        self.resume: grpc.aio.UnaryStreamMultiCallable[ResumeRequest, GenerateChunk] = generation.Resume
        self.cancel: grpc.aio.UnaryUnaryMultiCallable[CancelRequest, CancelResponse] = generation.Cancel
        self.embed: grpc.aio.UnaryUnaryMultiCallable[EmbedRequest, EmbedResponse] = generation.Embed
        self.tokenize: grpc.aio.UnaryUnaryMultiCallable[TokenizeRequest, TokenizeResponse] = generation.Tokenize
        self.detokenize: grpc.aio.UnaryUnaryMultiCallable[DetokenizeRequest, DetokenizeResponse] = generation.Detokenize
        self.estimate: grpc.aio.UnaryUnaryMultiCallable[EstimateRequest, EstimateResponse] = generation.Estimate
        self.get_generation: grpc.aio.UnaryUnaryMultiCallable[GetGenerationRequest, GenerationStatus] = (
            generation.GetGeneration
        )
        self.list_models: grpc.aio.UnaryUnaryMultiCallable[ListModelsRequest, ListModelsResponse] = models.ListModels
        self.get_model: grpc.aio.UnaryUnaryMultiCallable[GetModelRequest, Model] = models.GetModel
        self.load_adapter: grpc.aio.UnaryUnaryMultiCallable[LoadAdapterRequest, LoadAdapterResponse] = (
            models.LoadAdapter
        )
        self.unload_adapter: grpc.aio.UnaryUnaryMultiCallable[UnloadAdapterRequest, UnloadAdapterResponse] = (
            models.UnloadAdapter
        )
        self.set_alias: grpc.aio.UnaryUnaryMultiCallable[SetAliasRequest, SetAliasResponse] = models.SetAlias
        self.health: grpc.aio.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
            HEALTH_CHECK, HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        self.sessions: SessionPool[AsyncioSession, AsyncioCall] = SessionPool(
            partial(AsyncioSession, generation.Session)
        )

    async def close(self) -> None:
        """End the streams and close the channel. grpc.aio before 1.83 does not find all of them by itself."""
        self.closed = True
        await asyncio.gather(*(session.close() for session in self.sessions.sessions))
        for call in list(self.open_streams):
            call.cancel()
        await self.channel.close()
