"""`client.models`, in both flavours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from penstock import arguments
from penstock.aio_transport import AsyncTransport
from penstock.openai_shape.model_types import Adapter, Model, ModelList
from penstock.openai_shape.models import adapter, loaded_model, model_list
from penstock.transport import Transport
from penstock.v1.models_pb2 import GetModelRequest, LoadAdapterRequest, SetAliasRequest, UnloadAdapterRequest

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from penstock.call_options import CallOptions


class Models:
    """The models that the server has loaded, and their adapters."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, **options: Unpack[CallOptions]) -> ModelList:
        """The loaded models, the default one first: iterate it, or take `.data`."""
        return model_list(self._transport.list_models(self._transport.terms(**options)))

    def retrieve(self, model: str, **options: Unpack[CallOptions]) -> Model:
        """The model with this name or alias. Raises NotFoundError."""
        return loaded_model(self._transport.get_model(_get(model), self._transport.terms(**options)))

    def load_adapter(self, name: str, version: str, **options: Unpack[CallOptions]) -> Adapter:
        """Load a version of an adapter from the server's adapter directory; its `id` is a `model` of calls then."""
        answer = self._transport.load_adapter(_load(name, version), self._transport.terms(**options))
        return adapter(answer.adapter)

    def unload_adapter(self, name: str, version: str, **options: Unpack[CallOptions]) -> None:
        """Unload a version of an adapter; returns after the last call that uses it."""
        self._transport.unload_adapter(_unload(name, version), self._transport.terms(**options))

    def set_alias(self, alias: str, target: str, **options: Unpack[CallOptions]) -> str | None:
        """Make `alias` mean a model or NAME@VERSION of an adapter from now on; an empty `target` removes it.

        Returns what it meant before; None if it is new.
        """
        return (
            self._transport.set_alias(_alias(alias, target), self._transport.terms(**options)).previous_target or None
        )


class ModelListing:
    """What the asyncio client's `models.list()` returns: nothing is sent before it is awaited or iterated."""

    def __init__(self, load: Callable[[], Coroutine[Any, Any, ModelList]]) -> None:
        self._load = load

    def __await__(self) -> Generator[Any, Any, ModelList]:
        return self._load().__await__()

    async def __aiter__(self) -> AsyncIterator[Model]:
        for each in await self:
            yield each


class AsyncModels:
    """The models that the server has loaded, and their adapters."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self, **options: Unpack[CallOptions]) -> ModelListing:
        """The loaded models, the default one first: await it and take `.data`, or `async for` over it."""
        return ModelListing(lambda: self._list(options))

    async def _list(self, options: CallOptions) -> ModelList:
        return model_list(await self._transport.list_models(self._transport.terms(**options)))

    async def retrieve(self, model: str, **options: Unpack[CallOptions]) -> Model:
        """The model with this name or alias. Raises NotFoundError."""
        return loaded_model(await self._transport.get_model(_get(model), self._transport.terms(**options)))

    async def load_adapter(self, name: str, version: str, **options: Unpack[CallOptions]) -> Adapter:
        """Load a version of an adapter from the server's adapter directory; its `id` is a `model` of calls then."""
        return adapter(
            (await self._transport.load_adapter(_load(name, version), self._transport.terms(**options))).adapter
        )

    async def unload_adapter(self, name: str, version: str, **options: Unpack[CallOptions]) -> None:
        """Unload a version of an adapter; returns after the last call that uses it."""
        await self._transport.unload_adapter(_unload(name, version), self._transport.terms(**options))

    async def set_alias(self, alias: str, target: str, **options: Unpack[CallOptions]) -> str | None:
        """Make `alias` mean a model or NAME@VERSION of an adapter from now on; an empty `target` removes it.

        Returns what it meant before; None if it is new.
        """
        return (
            await self._transport.set_alias(_alias(alias, target), self._transport.terms(**options))
        ).previous_target or None


def _get(model: object) -> GetModelRequest:
    return GetModelRequest(name=arguments.text("model", model))


def _load(name: object, version: object) -> LoadAdapterRequest:
    return LoadAdapterRequest(name=arguments.text("name", name), version=arguments.text("version", version))


def _unload(name: object, version: object) -> UnloadAdapterRequest:
    return UnloadAdapterRequest(name=arguments.text("name", name), version=arguments.text("version", version))


def _alias(alias: object, target: object) -> SetAliasRequest:
    return SetAliasRequest(alias=arguments.text("alias", alias), target=arguments.text("target", target))
