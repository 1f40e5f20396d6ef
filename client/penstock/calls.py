"""The RPCs of one channel, in both flavours."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

import grpc
import grpc.aio

from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest, GenerateResponse
from penstock.v1.generation_pb2_grpc import GenerationStub
from penstock.v1.mirrors_pb2 import HealthCheckRequest, HealthCheckResponse
from penstock.v1.models_pb2 import GetModelRequest, ListModelsRequest, ListModelsResponse, Model
from penstock.v1.models_pb2_grpc import ModelsStub

if TYPE_CHECKING:
    ChunkCall = grpc.aio.UnaryStreamCall[GenerateRequest, GenerateChunk]

# Called by its name with mirror messages, because grpcio-health-checking would be one more dependency.
HEALTH_CHECK = "/grpc.health.v1.Health/Check"


class Calls:
    """The RPCs on a blocking channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        generation = GenerationStub(channel)
        models = ModelsStub(channel)
        self.channel = channel
        self.generate: grpc.UnaryUnaryMultiCallable[GenerateRequest, GenerateResponse] = generation.Generate
        self.stream_generate: grpc.UnaryStreamMultiCallable[GenerateRequest, GenerateChunk] = generation.StreamGenerate
        self.list_models: grpc.UnaryUnaryMultiCallable[ListModelsRequest, ListModelsResponse] = models.ListModels
        self.get_model: grpc.UnaryUnaryMultiCallable[GetModelRequest, Model] = models.GetModel
        self.health: grpc.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
            HEALTH_CHECK, HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )


class AsyncCalls:
    """The RPCs on an asyncio channel. `open_streams` are those of the streams that may still run."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.open_streams: WeakSet[ChunkCall] = WeakSet()
        generation = GenerationStub(channel)
        models = ModelsStub(channel)
        self.channel = channel
        self.generate: grpc.aio.UnaryUnaryMultiCallable[GenerateRequest, GenerateResponse] = generation.Generate
        self.stream_generate: grpc.aio.UnaryStreamMultiCallable[GenerateRequest, GenerateChunk] = (
            generation.StreamGenerate
        )
        self.list_models: grpc.aio.UnaryUnaryMultiCallable[ListModelsRequest, ListModelsResponse] = models.ListModels
        self.get_model: grpc.aio.UnaryUnaryMultiCallable[GetModelRequest, Model] = models.GetModel
        self.health: grpc.aio.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
            HEALTH_CHECK, HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )

    async def close(self) -> None:
        """Cancel the streams and close the channel. grpc.aio before 1.83 does not find all of them by itself."""
        for call in list(self.open_streams):
            call.cancel()
        await self.channel.close()
