"""The blocking transport: requests in, replies and errors of ours out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from penstock.client_parts import ClientParts
from penstock.endpoints.endpoint import EndpointStatus
from penstock.endpoints.pool import EndpointPool
from penstock.hooks import Observers
from penstock.reply import Reply
from penstock.resilience.cancels import Cancels
from penstock.resilience.resilient_call import ResilientCall
from penstock.resilience.resume_token import read_token
from penstock.resilience.stream_course import StreamCourse
from penstock.resilience.unary_calls import UnaryCalls
from penstock.resilience.watchdog import Watchdog
from penstock.sessions.riding import Riding, SessionsLike
from penstock.stream import Stream
from penstock.terms import Defaults, Terms
from penstock.v1.generation_pb2 import (
    CancelRequest,
    CancelResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    EmbedRequest,
    EmbedResponse,
    EstimateRequest,
    EstimateResponse,
    GenerateRequest,
    GenerationStatus,
    GetGenerationRequest,
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

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from penstock.call_options import CallOptions, SharedOptions
    from penstock.resilience.resumption import Recorder
    from penstock.tasks.task import Task


class Transport:
    """Sends requests to the endpoints of a pool."""

    def __init__(
        self,
        pool: EndpointPool,
        defaults: Defaults,
        sessions: SessionsLike,
        *,
        observers: Observers | None = None,
        group: str = "",
        adaptive: bool = True,
    ) -> None:
        self._defaults = defaults
        self.observers = observers or Observers()
        riding = Riding(sessions, defaults.metadata)
        self._parts = ClientParts(pool, riding, self.observers, group=group, adaptive=adaptive)
        self._cancels = Cancels()
        self._unary = UnaryCalls(self._parts)
        self._watchdog = Watchdog()

    def with_options(self, **options: Unpack[SharedOptions]) -> Self:
        """A transport that shares all but the defaults."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._defaults = self._defaults.changed(**options)
        return copy

    def record(self, begin: Callable[[GenerateRequest, str, Terms], Recorder]) -> None:
        """Keep the streams that can be resumed from now on, each by the recorder that is begun for it."""
        self._parts.recorder = begin

    def terms(self, **options: Unpack[CallOptions]) -> Terms:
        """What holds for a call that begins now."""
        return self._defaults.terms(time.monotonic(), **options)

    def generate(self, request: GenerateRequest, terms: Terms) -> Reply:
        return Reply(self._unary.call("Generate", lambda calls: calls.generate, request, terms))

    def stream(self, request: GenerateRequest, terms: Terms) -> Stream:
        return self._read(self._course(request, terms))

    def _course(self, request: GenerateRequest, terms: Terms) -> StreamCourse:
        course = StreamCourse(self._parts, request, terms)
        if terms.resume and self._parts.recorder is not None:
            course.keep(self._parts.recorder(request, course.request.idempotency_key, terms))
        return course

    def resume(self, token: str, terms: Terms) -> Stream:
        """Read on where a token says."""
        point = read_token(token)
        course = StreamCourse(self._parts, GenerateRequest(), dataclasses.replace(terms, resume=True))
        course.read_on(point)
        return self._read(course)

    def resume_task(self, task: Task, terms: Terms, recorder: Recorder) -> Stream:
        """Go on with a stream that a state file has kept."""
        point = read_token(task.token) if task.token else None
        course = StreamCourse(self._parts, task.request, dataclasses.replace(terms, resume=True))
        if point is not None:
            course.read_on(point, task.received)
        stream = self._read(course)
        course.keep(recorder)
        return stream

    def _read(self, course: StreamCourse) -> Stream:
        return Stream(ResilientCall(self._parts, self._watchdog, self._cancels, course), self)

    def endpoints(self) -> Sequence[EndpointStatus]:
        """How each endpoint stands now."""
        return self._parts.pool.endpoints()

    def get_generation(
        self, request: GetGenerationRequest, terms: Terms, endpoint: str | None = None
    ) -> GenerationStatus:
        """Of the endpoint that has the generation, where that is known; else of each, until one has it."""
        return self._unary.find("GetGeneration", lambda calls: calls.get_generation, request, terms, endpoint)

    def cancel_generation(self, request: CancelRequest, terms: Terms, endpoint: str | None = None) -> CancelResponse:
        """At the endpoint that has the generation, where that is known; else at each, until one has it."""
        return self._unary.find("Cancel", lambda calls: calls.cancel, request, terms, endpoint)

    def embed(self, request: EmbedRequest, terms: Terms) -> EmbedResponse:
        return self._unary.call("Embed", lambda calls: calls.embed, request, terms)

    def tokenize(self, request: TokenizeRequest, terms: Terms) -> TokenizeResponse:
        return self._unary.call("Tokenize", lambda calls: calls.tokenize, request, terms)

    def detokenize(self, request: DetokenizeRequest, terms: Terms) -> DetokenizeResponse:
        return self._unary.call("Detokenize", lambda calls: calls.detokenize, request, terms)

    def estimate(self, request: EstimateRequest, terms: Terms) -> EstimateResponse:
        return self._unary.call("Estimate", lambda calls: calls.estimate, request, terms)

    def list_models(self, terms: Terms) -> ListModelsResponse:
        return self._unary.call("ListModels", lambda calls: calls.list_models, ListModelsRequest(), terms)

    def get_model(self, request: GetModelRequest, terms: Terms) -> Model:
        return self._unary.call("GetModel", lambda calls: calls.get_model, request, terms)

    def load_adapter(self, request: LoadAdapterRequest, terms: Terms) -> LoadAdapterResponse:
        return self._unary.call("LoadAdapter", lambda calls: calls.load_adapter, request, terms, once=True)

    def unload_adapter(self, request: UnloadAdapterRequest, terms: Terms) -> UnloadAdapterResponse:
        return self._unary.call("UnloadAdapter", lambda calls: calls.unload_adapter, request, terms, once=True)

    def set_alias(self, request: SetAliasRequest, terms: Terms) -> SetAliasResponse:
        return self._unary.call("SetAlias", lambda calls: calls.set_alias, request, terms, once=True)

    def health(self, request: HealthCheckRequest, terms: Terms) -> HealthCheckResponse:
        return self._unary.call("Check", lambda calls: calls.health, request, terms)

    def close(self) -> None:
        try:
            self._cancels.finish()
        finally:
            self._parts.pool.close()
