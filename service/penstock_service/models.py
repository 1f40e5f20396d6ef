"""The Models service, and the search for a model by name."""

from collections.abc import Sequence

from penstock.v1.models_pb2 import GetModelRequest, ListModelsRequest, ListModelsResponse, Model
from penstock.v1.models_pb2_grpc import ModelsServicer as Servicer
from penstock_service.answer import Context, answers
from penstock_service.call import Call
from penstock_service.errors import InvalidRequest, ModelNotFound, Violation
from penstock_service.lifecycle import Lifecycle
from penstock_service.telemetry import Telemetry

MOST_NAME_BYTES = 512


class ModelsServicer(Servicer):
    """Answers ListModels and GetModel from the lifecycle's engine."""

    def __init__(self, lifecycle: Lifecycle, telemetry: Telemetry) -> None:
        self._lifecycle = lifecycle
        self.telemetry = telemetry

    @answers("penstock.v1.Models/ListModels")
    async def ListModels(self, request: ListModelsRequest, context: Context, call: Call) -> ListModelsResponse:
        """See the contract."""
        with self._lifecycle.call() as engine:
            return ListModelsResponse(models=[engine.model])

    @answers("penstock.v1.Models/GetModel")
    async def GetModel(self, request: GetModelRequest, context: Context, call: Call) -> Model:
        """See the contract."""
        with self._lifecycle.call() as engine:
            if not 1 <= (size := len(request.name.encode())) <= MOST_NAME_BYTES:
                raise InvalidRequest([Violation("name", f"must have 1 to {MOST_NAME_BYTES} bytes, got {size}")])
            return find_model(request.name, [engine.model])


def find_model(name: str, models: Sequence[Model]) -> Model:
    """The model that `name` or one of its aliases means, the first one for an empty name. Raises ModelNotFound."""
    for model in models:
        if name in ("", model.name, *model.aliases):
            return model
    raise ModelNotFound(name, [model.name for model in models])
