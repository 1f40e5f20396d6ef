"""Answers GetGeneration and Cancel: finds a generation by what its caller knows of it."""

from penstock.v1.generation_pb2 import CancelRequest, GenerationStatus, GetGenerationRequest
from penstock_service.errors import GenerationNotFound, InvalidRequest, Violation
from penstock_service.generation_index import GenerationIndex
from penstock_service.recording import Recording
from penstock_service.recordings import Recordings


class GenerationControl:
    """The generations of this server, those that their calls own and those that outlive them."""

    def __init__(self, index: GenerationIndex, recordings: Recordings) -> None:
        self._index = index
        self._recordings = recordings

    def cancel(self, request: CancelRequest, tenant: str) -> None:
        """See the contract. Another tenant's generations are as good as none, here and in `status`."""
        field, name = _named(request, "id or idempotency_key")
        if (recording := self._recording(field, name, tenant)) is not None:
            self._recordings.cancel(recording)
        elif field != "id" or not self._index.belongs_to(tenant, name):
            raise GenerationNotFound(field, name)
        elif (generation := self._index.find(name)) is not None:
            generation.cancel()

    def status(self, request: GetGenerationRequest, tenant: str) -> GenerationStatus:
        """See the contract."""
        field, name = _named(request, "id, idempotency_key or request_id")
        if (recording := self._recording(field, name, tenant)) is not None:
            return self._status_of(recording)
        generation_id = self._index.latest_named(tenant, name) if field == "request_id" else name
        if field == "idempotency_key" or generation_id is None or not self._index.belongs_to(tenant, generation_id):
            raise GenerationNotFound(field, name)
        if (status := self._index.status(generation_id)) is None:
            raise GenerationNotFound(field, name)
        return status

    def _recording(self, field: str, name: str, tenant: str) -> Recording | None:
        kept = self._recordings.kept
        if field == "request_id":
            return None
        return kept.find_for(tenant, name) if field == "id" else kept.find_by_key(tenant, name)

    def _status_of(self, recording: Recording) -> GenerationStatus:
        if recording.over:
            return recording.status()
        status = self._index.batch_status(recording.id) if recording.batch else self._index.status(recording.id)
        return status or recording.status()


def _named(request: CancelRequest | GetGenerationRequest, fields: str) -> tuple[str, str]:
    """The field that names the generation, and the name. Most calls have no request_id: an empty one names nothing."""
    field = request.WhichOneof("generation")
    if field is None:
        raise InvalidRequest([Violation("generation", f"is missing: set {fields}")])
    if not (name := getattr(request, field)):
        raise InvalidRequest([Violation(field, "must not be empty")])
    return field, name
