"""The Models service."""

from penstock.v1.models_pb2 import (
    LIMIT_KIND_VALUE,
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
from penstock.v1.models_pb2_grpc import ModelsServicer as Servicer
from penstock_service.adapter_loader import AdapterLoader
from penstock_service.adapters import AdapterTable
from penstock_service.answer import Context, answers
from penstock_service.call import Call
from penstock_service.deadlines import Deadlines
from penstock_service.engine.base import Engine
from penstock_service.errors import InvalidRequest, Violation
from penstock_service.lifecycle import Lifecycle
from penstock_service.telemetry import Telemetry
from penstock_service.tenant import check_manages_models

MOST_NAME_BYTES = 512


class ModelsServicer(Servicer):
    """Tells of the lifecycle's engine and its adapters, and changes them."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        telemetry: Telemetry,
        adapters: AdapterTable,
        loader: AdapterLoader,
        grace_seconds: float,
        deadlines: Deadlines,
    ) -> None:
        self._lifecycle = lifecycle
        self.telemetry = telemetry
        self.deadlines = deadlines
        self._adapters = adapters
        self._loader = loader
        self._grace_seconds = grace_seconds

    @answers("penstock.v1.Models/ListModels")
    async def ListModels(self, request: ListModelsRequest, context: Context, call: Call) -> ListModelsResponse:
        """See the contract."""
        with self._lifecycle.call() as engine:
            return ListModelsResponse(models=[self._described(engine)])

    @answers("penstock.v1.Models/GetModel")
    async def GetModel(self, request: GetModelRequest, context: Context, call: Call) -> Model:
        """See the contract. The name of an adapter finds the model that it adapts."""
        with self._lifecycle.call() as engine:
            _check_size("name", request.name, least=1)
            self._adapters.resolve(request.name, engine.model)
            return self._described(engine)

    @answers("penstock.v1.Models/LoadAdapter")
    async def LoadAdapter(self, request: LoadAdapterRequest, context: Context, call: Call) -> LoadAdapterResponse:
        """See the contract."""
        check_manages_models(call.tenant)
        with self._lifecycle.call() as engine:
            adapter = await self._loader.load(engine, request.name, request.version)
            return LoadAdapterResponse(adapter=adapter.description())

    @answers("penstock.v1.Models/UnloadAdapter", limited=False)
    async def UnloadAdapter(self, request: UnloadAdapterRequest, context: Context, call: Call) -> UnloadAdapterResponse:
        """See the contract."""
        check_manages_models(call.tenant)
        with self._lifecycle.call() as engine:
            await self._loader.unload(engine, request.name, request.version)
            return UnloadAdapterResponse()

    @answers("penstock.v1.Models/SetAlias")
    async def SetAlias(self, request: SetAliasRequest, context: Context, call: Call) -> SetAliasResponse:
        """See the contract."""
        check_manages_models(call.tenant)
        with self._lifecycle.call() as engine:
            self._loader.check_alone()
            _check_size("target", request.target, least=0)
            return SetAliasResponse(
                previous_target=self._adapters.set_alias(request.alias, request.target, engine.model)
            )

    def _described(self, engine: Engine) -> Model:
        model = self._adapters.described(engine.model)
        model.adapters_enabled = self._loader.enabled(engine)
        model.default_deadline_ms = round(1000 * (self.deadlines.default or 0))
        model.max_deadline_ms = round(1000 * (self.deadlines.longest or 0))
        model.limits.add(field="resumable", kind=LIMIT_KIND_VALUE, maximum=self._grace_seconds)
        return model


def _check_size(field: str, name: str, least: int) -> None:
    if not least <= (size := len(name.encode())) <= MOST_NAME_BYTES:
        raise InvalidRequest([Violation(field, f"must have {least} to {MOST_NAME_BYTES} bytes, got {size}")])
