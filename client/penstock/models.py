"""`client.models`, in both flavours."""

from __future__ import annotations

from penstock import arguments
from penstock.aio_transport import AsyncTransport
from penstock.call_options import CLIENT_DEFAULT, MetadataLike, TimeoutLike
from penstock.openai_shape.model_types import Adapter, Model, ModelList
from penstock.openai_shape.models import adapter, model, model_list
from penstock.transport import Transport
from penstock.v1.models_pb2 import GetModelRequest, LoadAdapterRequest, SetAliasRequest, UnloadAdapterRequest


class Models:
    """The models that the server has loaded, and their adapters."""

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

    def load_adapter(
        self, name: str, version: str, *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> Adapter:
        """Load a version of an adapter from the server's adapter directory; its `id` is a `model` of calls then."""
        return adapter(self._transport.load_adapter(_load(name, version), timeout, metadata).adapter)

    def unload_adapter(
        self, name: str, version: str, *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> None:
        """Unload a version of an adapter; returns after the last call that uses it."""
        self._transport.unload_adapter(_unload(name, version), timeout, metadata)

    def set_alias(
        self, alias: str, target: str, *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> str | None:
        """Make `alias` mean a model or NAME@VERSION of an adapter from now on; an empty `target` removes it.

        Returns what it meant before; None if it is new.
        """
        return self._transport.set_alias(_alias(alias, target), timeout, metadata).previous_target or None


class AsyncModels:
    """The models that the server has loaded, and their adapters."""

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

    async def load_adapter(
        self, name: str, version: str, *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> Adapter:
        """Load a version of an adapter from the server's adapter directory; its `id` is a `model` of calls then."""
        return adapter((await self._transport.load_adapter(_load(name, version), timeout, metadata)).adapter)

    async def unload_adapter(
        self, name: str, version: str, *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> None:
        """Unload a version of an adapter; returns after the last call that uses it."""
        await self._transport.unload_adapter(_unload(name, version), timeout, metadata)

    async def set_alias(
        self, alias: str, target: str, *, timeout: TimeoutLike = CLIENT_DEFAULT, metadata: MetadataLike | None = None
    ) -> str | None:
        """Make `alias` mean a model or NAME@VERSION of an adapter from now on; an empty `target` removes it.

        Returns what it meant before; None if it is new.
        """
        return (await self._transport.set_alias(_alias(alias, target), timeout, metadata)).previous_target or None


def _get(name: object) -> GetModelRequest:
    return GetModelRequest(name=arguments.text("model", name))


def _load(name: object, version: object) -> LoadAdapterRequest:
    return LoadAdapterRequest(name=arguments.text("name", name), version=arguments.text("version", version))


def _unload(name: object, version: object) -> UnloadAdapterRequest:
    return UnloadAdapterRequest(name=arguments.text("name", name), version=arguments.text("version", version))


def _alias(alias: object, target: object) -> SetAliasRequest:
    return SetAliasRequest(alias=arguments.text("alias", alias), target=arguments.text("target", target))
