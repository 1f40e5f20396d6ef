"""Which calls of a client use its cache, what is in it for them, and what they bring into it. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.caching.cache import Cache
from penstock.caching.cache_key import repeatable, request_key, whole
from penstock.caching.model_identity import KnownModels, ModelIdentity, identify
from penstock.events import CacheHit
from penstock.reply import Reply
from penstock.v1.generation_pb2 import GenerateRequest, GenerateResponse

if TYPE_CHECKING:
    from penstock.call_options import CacheUse
    from penstock.hooks import Observers
    from penstock.terms import Terms
    from penstock.v1.models_pb2 import Model


class Question:
    """One call that uses the cache: what it asks, and which model is to answer."""

    def __init__(self, request: GenerateRequest, terms: Terms, identity: ModelIdentity) -> None:
        self.request = request
        self.terms = terms
        self.identity = identity
        self.key = request_key(request, identity.key, terms.metadata)


class Caching:
    """A client's use of its cache, if it has one."""

    def __init__(self, cache: Cache | None, observers: Observers) -> None:
        if cache is not None and not isinstance(cache, Cache):
            raise ArgumentTypeError("cache", "a Cache", cache)
        self._cache = cache
        self._observers = observers
        self._models = KnownModels(0.0 if cache is None else cache.model_ttl)

    def use(self, request: GenerateRequest, terms: Terms) -> CacheUse:
        """What the call does with the cache: what it says, or else "use" if its answer can be used again."""
        if self._cache is None:
            if terms.cache in ("use", "refresh"):
                raise ArgumentValueError("cache", f"is {terms.cache!r}, but the client has none: Client(cache=Cache())")
            return "off"
        if request.WhichOneof("input") == "batch":
            return "off"
        return terms.cache or ("use" if repeatable(request) else "off")

    def identity(self, name: str, now: float) -> ModelIdentity | None:
        """What the name of a model means; None if the server has to be asked."""
        return self._models.get(name, now)

    def identified(self, name: str, model: Model, asked: float) -> ModelIdentity:
        """The server was asked at `asked`, and said this."""
        identity = identify(name, model)
        self._models.put(name, identity, asked)
        return identity

    def found(self, question: Question, method: str, now: float) -> Reply | None:
        """The answer that is in the cache, as one to this call."""
        kept = self._cache.get(question.key, now) if self._cache is not None else None
        return None if kept is None else self._reply(GenerateResponse.FromString(kept), question, method, shared=False)

    def joined(self, reply: Reply, question: Question, method: str) -> Reply:
        """The reply to an identical call, as one to this call."""
        copy = GenerateResponse()
        copy.CopyFrom(reply.proto)
        return self._reply(copy, question, method, shared=True)

    def keep(self, reply: Reply, question: Question, now: float) -> None:
        """Put the answer to the call into the cache if it is whole."""
        if not question.identity.gave(reply.proto):
            self._models.forget(question.request.model)  # its name means another model since
        elif self._cache is not None and whole(reply.proto):
            bare = GenerateResponse()
            bare.CopyFrom(reply.proto)
            bare.ClearField("request_id")
            if bare.HasField("timings"):
                bare.timings.ClearField("chunk_count")
            self._cache.put(question.key, bare.SerializeToString(), now)

    def _reply(self, response: GenerateResponse, question: Question, method: str, shared: bool) -> Reply:
        response.request_id = question.request.request_id
        if self._observers.heard(CacheHit):
            self._observers.emit(CacheHit(method, question.request.model, question.terms.tier, shared))
        return Reply(response, cached=True)
