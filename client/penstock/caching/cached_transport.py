"""The blocking transport behind a cache."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from penstock.caching.cache_key import shareable
from penstock.caching.cache_use import Caching, Question
from penstock.caching.cached_calls import KeptCall, LateCall, Replay
from penstock.caching.late_course import LateCourse
from penstock.caching.model_identity import ModelIdentity, asking_terms
from penstock.caching.replayed import one_chunk
from penstock.caching.single_flight import Flights
from penstock.client_parts import ClientParts
from penstock.errors import APIError
from penstock.hooks import Observers
from penstock.reply import Reply
from penstock.resilience.resilient_call import ResilientCall
from penstock.resilience.stream_course import StreamCourse
from penstock.stream import Source, Stream
from penstock.transport import Transport
from penstock.v1.models_pb2 import GetModelRequest

if TYPE_CHECKING:
    from typing_extensions import Self

    from penstock.caching.cache import Cache
    from penstock.call_options import CacheUse
    from penstock.terms import Terms
    from penstock.v1.generation_pb2 import GenerateRequest


class CachedTransport(Transport):
    """Looks for an answer in the cache before it asks for one. Identical calls at the same time share one."""

    def with_cache(self, cache: Cache | None) -> Self:
        """This transport, before its first call, with the cache; None for none."""
        self._caching = Caching(cache, self.observers)
        # An answer that needs no call is none in the events and the statistics.
        self._unobserved = ClientParts(self._parts.pool, self._parts.riding, Observers(), group="", adaptive=False)
        self._flights: Flights[Reply] = Flights()
        self._model_flights: Flights[ModelIdentity] = Flights()
        return self

    def generate(self, request: GenerateRequest, terms: Terms) -> Reply:
        use = self._caching.use(request, terms)
        question = None if use == "off" else self._question(request, terms)
        if question is None:
            return super().generate(request, terms)
        if use == "refresh":
            return self._asked(question)
        if found := self._caching.found(question, "Generate", time.monotonic()):
            return found
        if not shareable(request):
            return self._asked(question)
        reply, joined = self._flights.run(question.key, lambda: self._asked(question), terms.ends)
        return self._caching.joined(reply, question, "Generate") if joined else reply

    def stream(self, request: GenerateRequest, terms: Terms) -> Stream:
        use = self._caching.use(request, terms)
        if use == "off":
            return super().stream(request, terms)
        identity = self._caching.identity(request.model, time.monotonic())
        if identity is None:
            late = LateCourse(self._unobserved, request, terms)
            ask = partial(self._question, request, terms)
            return Stream(LateCall(late, ask, lambda question: self._begun(late, question, request, use)), self)
        question = Question(request, terms, identity)
        if use == "use" and (found := self._caching.found(question, "StreamGenerate", time.monotonic())):
            return Stream(Replay(StreamCourse(self._unobserved, request, terms), one_chunk(found.proto)), self)
        return Stream(self._kept(question, self._course(request, terms)), self)

    def _begun(self, late: LateCourse, question: Question | None, request: GenerateRequest, use: CacheUse) -> Source:
        """What `stream` does, where the server has to say first which model it is."""
        if question and use == "use" and (found := self._caching.found(question, "StreamGenerate", time.monotonic())):
            return Replay(late, one_chunk(found.proto))
        late.begin(self._course(request, late.terms))
        if question is None:
            return ResilientCall(self._parts, self._watchdog, self._cancels, late)
        return self._kept(question, late)

    def _kept(self, question: Question, course: StreamCourse) -> KeptCall:
        call = ResilientCall(self._parts, self._watchdog, self._cancels, course)
        return KeptCall(call, lambda reply: self._caching.keep(reply, question, time.monotonic()))

    def _asked(self, question: Question) -> Reply:
        reply = super().generate(question.request, question.terms)
        self._caching.keep(reply, question, time.monotonic())
        return reply

    def _question(self, request: GenerateRequest, terms: Terms) -> Question | None:
        """None if the server does not say which model it is; then the call itself shows why."""
        name = request.model
        identity = self._caching.identity(name, time.monotonic())
        if identity is None:
            asking = asking_terms(terms, time.monotonic())
            try:
                identity, _ = self._model_flights.run(
                    (name, terms.metadata), lambda: self._identify(name, asking), asking.ends
                )
            except APIError:
                return None
        return Question(request, terms, identity)

    def _identify(self, name: str, terms: Terms) -> ModelIdentity:
        asked = time.monotonic()
        model = self.get_model(GetModelRequest(name=name), terms) if name else self.list_models(terms).models[0]
        return self._caching.identified(name, model, asked)
