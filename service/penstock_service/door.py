"""The one door to the engine: quota, admission, and the place in the engine, with what is measured and the time."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from penstock.v1.generation_pb2 import GenerateRequest
from penstock.v1.models_pb2 import Model
from penstock_service.admission import NOTHING_WAITS, Admission, AdmissionLimits, Admitted, Asked, Outlook
from penstock_service.call import Call
from penstock_service.engine.base import Engine
from penstock_service.engine_places import EnginePlace, EnginePlaces, PlaceNeed
from penstock_service.errors import Overloaded, QuotaExceeded, ServiceError
from penstock_service.generation import Generation
from penstock_service.prompt_estimate import PromptEstimate
from penstock_service.quotas import Quotas
from penstock_service.settings import Settings
from penstock_service.telemetry import Telemetry
from penstock_service.waiting import WaitEstimator

# What waits in the engine is asked of its metrics, which takes longer than all the rest; it changes by the step.
_LOOK_SECONDS = 0.02


class Prospect(NamedTuple):
    """What a call would meet that came now, and with what it would be refused."""

    outlook: Outlook
    refusal: ServiceError | None


class Door:
    """What all calls that need the engine pass."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self.places = EnginePlaces(lambda: self._waiting_in_engine() > 0)
        self.prompts = PromptEstimate()
        self.waiting = WaitEstimator()
        self._settings = settings
        self._telemetry = telemetry
        self._admission = Admission()
        self._quotas = Quotas()
        self._model: Model | None = None
        self._limits: AdmissionLimits | None = None
        self._engine: Engine | None = None
        self._waiting, self._looked = 0, -math.inf
        telemetry.watch_admission(
            running=lambda: self.places.taken,
            waiting=lambda: self.places.queue.sequences,
            queued_tokens=lambda: self._admission.queued_tokens,
        )

    @contextmanager
    def admitted(
        self, call: Call, engine: Engine, sequences: int, prompts: Sequence[int], priority: int = 0
    ) -> Iterator[Admitted]:
        """Let a call in for the time of the block: `sequences` at a time, `prompts` the tokens of each input's.

        Raises QuotaExceeded, Overloaded, and DeadlineExceeded for one whose deadline cannot be met.
        """
        asked = asked_by(call, engine.model, sequences, prompts)
        with self.counted(call, asked.tokens):
            admitted = self._let_in(engine, asked, priority)
            try:
                yield admitted
            finally:
                admitted.release()

    @contextmanager
    def counted(self, call: Call, tokens: int) -> Iterator[None]:
        """Count a call, and `tokens` of its prompts, in its tenant's quota for the time of the block.

        Raises QuotaExceeded.
        """
        try:
            counted = self._quotas.begin(call.tenant, time.monotonic(), tokens)
        except QuotaExceeded as refusal:
            self._telemetry.not_admitted(refusal.reason)
            raise
        try:
            yield
        finally:
            self._quotas.end(counted)

    @contextmanager
    def reading(self, call: Call) -> Iterator[None]:
        """As `counted` for a call that only reads a prompt, which is no load that the metrics of admission tell."""
        counted = self._quotas.begin(call.tenant, time.monotonic(), reads=True)
        try:
            yield
        finally:
            self._quotas.end(counted)

    def quota_refusal(self, call: Call) -> QuotaExceeded | None:
        """What its tenant's quota would say to a call that came now."""
        return self._quotas.refusal(call.tenant, time.monotonic())

    def prospect(self, engine: Engine, call: Call, asked: Asked, priority: int) -> Prospect:
        """What would happen to a call like this that came now."""
        now, outlook = time.monotonic(), self.outlook(engine, asked, priority)
        refusal = self.quota_refusal(call)
        return Prospect(outlook, refusal or self._admission.refusal(asked, self.limits_of(engine.model), outlook, now))

    def outlook(self, engine: Engine, asked: Asked, priority: int) -> Outlook:
        """What a call would meet that came now."""
        self._engine, places = engine, self.limits_of(engine.model).places
        free = self.places.free(asked.sequences)
        if self.places.taken < places // self._settings.frontends and free:
            return NOTHING_WAITS  # the short way of most calls
        running, places = self._in_engine(places, free)
        running += self.places.queue.ahead(asked.tenant, priority)
        return Outlook(
            waits=not free,
            wait=_seconds(self.waiting.wait_ms(running, places)),
            first_token=_seconds(self.waiting.first_token_ms(running, places, asked.longest)),
            between_ends=_seconds(self.waiting.between_ends_ms(places)),
            own_waiting=self.places.queue.waiting_of(asked.tenant),
        )

    def place(self, admitted: Admitted, call: Call, request: GenerateRequest, tokens: int, alone: bool) -> EnginePlace:
        """What one generation of an admitted call will take of the engine; `tokens` are its prompt's.

        One that is `alone` in its call has nothing left of what was let in once the engine has finished it.
        """
        sequences = request.num_sequences or 1
        completion = request.stopping.max_tokens or self.waiting.completion_tokens or 0
        cost = tokens + sequences * completion
        need = PlaceNeed(call.id, sequences, tokens, cost, request.priority)
        return self.place_for(admitted, need, alone)

    def place_for(self, admitted: Admitted, need: PlaceNeed, alone: bool = False) -> EnginePlace:
        """As `place`, of whatever needs one."""
        return EnginePlace(self.places, need, admitted.tenant, admitted.begun, admitted.release if alone else None)

    def ended(self, call: Call, generation: Generation) -> None:
        """Learn from a generation, and charge it to its tenant."""
        if (usage := generation.usage) is None:
            return
        self.waiting.ended(generation.timings, usage, generation.job.request.num_sequences or 1)
        if generation.error is None:
            self.prompts.learn(generation.job.request, usage.prompt_tokens)
        self.charge(call, usage.prompt_tokens + usage.completion_tokens)

    def charge(self, call: Call, tokens: int) -> None:
        """Take what a call has taken from its tenant's quota."""
        self._quotas.charge(call.tenant, tokens, time.monotonic())

    def delayed(self, error: Exception, call: Call, engine: Engine) -> Exception:
        """The error; the engine's own refusal gets a delay by the backlog."""
        if not isinstance(error, Overloaded):
            return error
        self._telemetry.not_admitted(error.reason)
        between_ends = _seconds(self.waiting.between_ends_ms(self.limits_of(engine.model).places))
        return Overloaded(str(error), self._admission.retry_after(call.tenant.name, time.monotonic(), between_ends))

    def limits_of(self, model: Model) -> AdmissionLimits:
        """What is let in to a model."""
        if self._limits is None or self._model is not model:
            self._model, self._limits = model, AdmissionLimits.of(self._settings, model)
            self.places.fit_to(model, self._settings.frontends)
        return self._limits

    @property
    def queued_tokens(self) -> int:
        """Tokens of the prompts that have no place in the engine yet."""
        return self._admission.queued_tokens

    def _let_in(self, engine: Engine, asked: Asked, priority: int) -> Admitted:
        now, limits = time.monotonic(), self.limits_of(engine.model)
        try:
            if self._admission.is_full(asked, limits, now):  # told without a look at who waits
                between_ends = _seconds(self.waiting.between_ends_ms(limits.places))
                outlook = Outlook(waits=True, between_ends=between_ends)
            else:
                outlook = self.outlook(engine, asked, priority)
            return self._admission.admit(asked, limits, outlook, now)
        except ServiceError as refusal:
            self._telemetry.not_admitted(refusal.reason)
            raise

    def _in_engine(self, places: int, free: bool) -> tuple[int, int]:
        """How many it has been handed, and of how many places the ends make room for the next.

        With several front ends that is as far as it tells, and while others of this one wait, those that it has itself.
        """
        taken = self.places.taken
        if self._settings.frontends == 1:
            return taken, places
        if not free:
            own = max(min(taken, places), 1)
            return own, own
        waiting = self._waiting_in_engine()
        return (places + waiting if waiting else min(taken, places - 1)), places

    def _waiting_in_engine(self) -> int:
        now = time.monotonic()
        if self._engine is not None and now - self._looked >= _LOOK_SECONDS:
            self._waiting, self._looked = self._engine.waiting, now
        return self._waiting


def asked_by(call: Call, model: Model, sequences: int, prompts: Sequence[int]) -> Asked:
    """What a call asks for: of a batch, no more than the engine runs at once, for else it might never get in."""
    if len(prompts) > 1:
        sequences = min(sequences, max(model.max_concurrent_sequences, sequences // len(prompts)))
    return Asked(call.tenant.name, sequences, sum(prompts), call.seconds_left(), max(prompts, default=0))


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
