"""The asyncio transport behind a cache."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from penstock.aio_transport import AsyncTransport
from penstock.caching.cache_key import shareable
from penstock.caching.cache_use import Caching, Question
from penstock.caching.cached_calls import AsyncKeptCall, AsyncLateCall, AsyncReplay
from penstock.caching.late_course import LateCourse
from penstock.caching.model_identity import ModelIdentity, asking_terms
from penstock.caching.replayed import one_chunk
from penstock.caching.single_flight import AsyncFlights
from penstock.client_parts import ClientParts
from penstock.errors import APIError
from penstock.hooks import Observers
from penstock.reply import Reply
from penstock.resilience.aio_resilient_call import AsyncResilientCall
from penstock.resilience.stream_course import StreamCourse
from penstock.stream import AsyncStream
from penstock.v1.models_pb2 import GetModelRequest

if TYPE_CHECKING:
    from typing_extensions import Self

    from penstock.caching.cache import Cache
    from penstock.call_options import CacheUse
    from penstock.chunk_calls import AsyncChunkCall
    from penstock.terms import Terms
    from penstock.v1.generation_pb2 import GenerateRequest


class AsyncCachedTransport(AsyncTransport):
    """Looks for an answer in the cache before it asks for one. Identical calls at the same time share one."""

    def with_cache(self, cache: Cache | None) -> Self:
        """This transport, before its first call, with the cache; None for none."""
        self._caching = Caching(cache, self.observers)
        # An answer that needs no call is none in the events and the statistics.
        self._unobserved = ClientParts(self._parts.pool, self._parts.riding, Observers(), group="", adaptive=False)
        self._flights: AsyncFlights[Reply] = AsyncFlights()
        self._model_flights: AsyncFlights[ModelIdentity] = AsyncFlights()
        return self

    async def generate(self, request: GenerateRequest, terms: Terms) -> Reply:
        use = self._caching.use(request, terms)
        question = None if use == "off" else await self._question(request, terms)
        if question is None:
            return await super().generate(request, terms)
        if use == "refresh":
            return await self._asked(question)
        if found := self._caching.found(question, "Generate", time.monotonic()):
            return found
        if not shareable(request):
            return await self._asked(question)
        reply, joined = await self._flights.run(question.key, lambda: self._asked(question), terms.ends)
        return self._caching.joined(reply, question, "Generate") if joined else reply

    def stream(self, request: GenerateRequest, terms: Terms) -> AsyncStream:
        use = self._caching.use(request, terms)
        if use == "off":
            return super().stream(request, terms)
        identity = self._caching.identity(request.model, time.monotonic())
        if identity is None:
            late = LateCourse(self._unobserved, request, terms)
            return AsyncStream(AsyncLateCall(late, self._begun(late, request, use)), self)
        question = Question(request, terms, identity)
        if use == "use" and (found := self._caching.found(question, "StreamGenerate", time.monotonic())):
            course = StreamCourse(self._unobserved, request, terms)
            return AsyncStream(AsyncReplay(course, one_chunk(found.proto)), self)
        return AsyncStream(self._kept(question, self._course(request, terms)), self)

    async def _begun(self, late: LateCourse, request: GenerateRequest, use: CacheUse) -> AsyncChunkCall:
        """What `stream` does, where the server has to say first which model it is."""
        question = await self._question(request, late.terms)
        if question and use == "use" and (found := self._caching.found(question, "StreamGenerate", time.monotonic())):
            return AsyncReplay(late, one_chunk(found.proto))
        late.begin(self._course(request, late.terms))
        if question is None:
            return AsyncResilientCall(self._parts, self._cancels, late)
        return self._kept(question, late)

    def _kept(self, question: Question, course: StreamCourse) -> AsyncKeptCall:
        call = AsyncResilientCall(self._parts, self._cancels, course)
        return AsyncKeptCall(call, lambda reply: self._caching.keep(reply, question, time.monotonic()))

    async def _asked(self, question: Question) -> Reply:
        reply = await super().generate(question.request, question.terms)
        self._caching.keep(reply, question, time.monotonic())
        return reply

    async def _question(self, request: GenerateRequest, terms: Terms) -> Question | None:
        """None if the server does not say which model it is; then the call itself shows why."""
        name = request.model
        identity = self._caching.identity(name, time.monotonic())
        if identity is None:
            asking = asking_terms(terms, time.monotonic())
            try:
                identity, _ = await self._model_flights.run(
                    (name, terms.metadata), lambda: self._identify(name, asking), asking.ends
                )
            except APIError:
                return None
        return Question(request, terms, identity)

    async def _identify(self, name: str, terms: Terms) -> ModelIdentity:
        asked = time.monotonic()
        if name:
            model = await self.get_model(GetModelRequest(name=name), terms)
        else:
            model = (await self.list_models(terms)).models[0]
        return self._caching.identified(name, model, asked)
