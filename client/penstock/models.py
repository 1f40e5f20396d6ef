"""`client.models`, in both flavours."""

from __future__ import annotations

from penstock import arguments
from penstock.aio_transport import AsyncTransport
from penstock.call_options import CLIENT_DEFAULT, MetadataLike, TimeoutLike
from penstock.openai_shape.results import model, model_list
from penstock.openai_shape.types import Model, ModelList
from penstock.transport import Transport
from penstock.v1.models_pb2 import GetModelRequest


class Models:
    """The models that the server has loaded."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None) -> ModelList:
        """The loaded models, the default one first: iterate it, or take `.data`."""
        return model_list(self._transport.list_models(timeout, metadata))

    def retrieve(
        self, name: str, *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> Model:
        """The model with this name or alias. Raises NotFoundError."""
        return model(self._transport.get_model(_get(name), timeout, metadata))


class AsyncModels:
    """The models that the server has loaded."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(self, *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None) -> ModelList:
        """The loaded models, the default one first: iterate it, or take `.data`."""
        return model_list(await self._transport.list_models(timeout, metadata))

    async def retrieve(
        self, name: str, *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> Model:
        """The model with this name or alias. Raises NotFoundError."""
        return model(await self._transport.get_model(_get(name), timeout, metadata))


def _get(name: object) -> GetModelRequest:
    return GetModelRequest(name=arguments.text("model", name))
