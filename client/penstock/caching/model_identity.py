"""Which model a name means, so that a cached answer is only given for the model that gave it. Pure.

A name can come to mean another model while the client runs: an alias is switched, an adapter changes its version, a
server is restarted with other weights. Replies name the model and the adapter but not the weights, so the client asks
the server (GetModel), and trusts the answer for a few seconds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from penstock.terms import Terms
from penstock.v1.generation_pb2 import GenerateResponse
from penstock.v1.models_pb2 import Adapter, Model

# A server that does not say which model it is in this time holds no call up for longer.
ASKING_SECONDS = 3.0


@dataclass(frozen=True)
class ModelIdentity:
    """What answers to a name, with its weights and the engine that computes with them."""

    model: str
    weights: str
    engine: str
    adapter: str  # NAME@VERSION, and empty for the model itself
    adapter_digest: str

    @property
    def key(self) -> bytes:
        """The same bytes for the same answers."""
        return "\0".join((self.model, self.weights, self.engine, self.adapter, self.adapter_digest)).encode()

    def gave(self, response: GenerateResponse) -> bool:
        """Whether this answered, and not what the name has come to mean since."""
        adapter = response.adapter
        named = f"{adapter.name}@{adapter.version}" if response.HasField("adapter") else ""
        return response.model == self.model and named == self.adapter and adapter.digest == self.adapter_digest


def identify(name: str, model: Model) -> ModelIdentity:
    """What `name` means, where the server says that it finds `model`. An empty name is the model's own."""
    adapter = _adapter(name, model)
    return ModelIdentity(
        model=model.name,
        # Where nobody knows the digest, at least a server that was started anew is another one.
        weights=model.digest or f"loaded {model.load_time.ToNanoseconds()}",
        engine=f"{model.engine} {model.engine_version}",
        adapter=f"{adapter.name}@{adapter.version}" if adapter else "",
        adapter_digest=adapter.digest if adapter else "",
    )


def _adapter(name: str, model: Model) -> Adapter | None:
    target = next((alias.target for alias in model.adapter_aliases if alias.name == name), name)
    return next((each for each in model.adapters if f"{each.name}@{each.version}" == target), None)


def asking_terms(terms: Terms, now: float) -> Terms:
    """Those of the question which model it is, for a call with these: it is to leave time for the call itself."""
    limits = (terms.left(now), terms.timeout.first_token, ASKING_SECONDS)
    limit = min(each for each in limits if each is not None)
    return dataclasses.replace(terms, timeout=dataclasses.replace(terms.timeout, total=limit), ends=now + limit)


class KnownModels:
    """What the server said about each name, for as long as it is trusted."""

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._known: dict[str, tuple[ModelIdentity, float]] = {}

    def get(self, name: str, now: float) -> ModelIdentity | None:
        """What the name means; None if the server has to be asked."""
        identity, ends = self._known.get(name, (None, 0.0))
        return identity if now < ends else None

    def put(self, name: str, identity: ModelIdentity, now: float) -> None:
        """The server said so just now, or before `now`."""
        self._known[name] = (identity, now + self._ttl)

    def forget(self, name: str) -> None:
        """It was wrong."""
        self._known.pop(name, None)
