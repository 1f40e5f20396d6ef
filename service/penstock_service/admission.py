"""Decides which calls are let in. Pure: what is measured and the time come in as arguments.

What counts is sequences, of all calls whose handlers run, and prompt tokens, of those that have no place in the engine
yet. Tenants share both. While others want some as well, one has at most its share of what the others leave (the dynamic
threshold of Choudhury and Hahne, IEEE/ACM ToN 1998): however many tenants press, some room is left for one that comes
anew. A tenant that has nothing here is let in wherever there is room at all.
"""

import math
from datetime import timedelta
from typing import NamedTuple

from penstock.v1.models_pb2 import Model
from penstock_service.engine_places import places_in
from penstock_service.errors import DeadlineExceeded, Overloaded, ServiceError
from penstock_service.promised_room import UNMEASURED_SECONDS, PromisedRoom
from penstock_service.settings import Settings
from penstock_service.tenant import ANONYMOUS

# Of a model that runs few at once half as many more would be next to none.
_LEAST_WAITING = 32
_QUEUED_CONTEXTS = 32
# What one tenant alone leaves to others who might come.
_LEFT = 1 / 8
# After its last call, and after the last refusal, a tenant counts as one that wants some.
_LATELY_SECONDS = 5.0
# Sequences of one tenant that may wait for their turn whatever the predicted wait, while others want some as well; a
# call that has more may if it is the only one.
_NEXT_IN_TURN = 2


class AdmissionLimits(NamedTuple):
    """What is let in."""

    places: int  # sequences that the engine runs at once
    sequences: int
    queued_tokens: int
    wait_seconds: float
    tenant_share: float

    @classmethod
    def of(cls, settings: Settings, model: Model) -> "AdmissionLimits":
        """Those of one front end, which sees its own calls alone.

        Of what the operator sets it has its part. By default it can fill the engine by itself, for connections spread
        unevenly, and has its part of those who wait.
        """
        places, handed, frontends = model.max_concurrent_sequences, places_in(model), settings.frontends
        whole = max(math.ceil(1.5 * places), places + _LEAST_WAITING)
        alone = handed + math.ceil((whole - handed) / frontends)
        queued_tokens = settings.max_queued_tokens or _QUEUED_CONTEXTS * model.context_length
        return cls(
            places,
            math.ceil((settings.max_admitted_sequences or alone * frontends) / frontends),
            math.ceil(queued_tokens / frontends),
            settings.max_wait_seconds,
            settings.max_tenant_share,
        )


class Asked(NamedTuple):
    """What a call asks for: all its inputs, or nothing."""

    tenant: str
    sequences: int  # at a time
    tokens: int  # of its prompts
    seconds_left: float | None = None
    longest: int = 0  # tokens of its longest prompt, which its slowest first token follows


class Outlook(NamedTuple):
    """What a call that came now would meet, in seconds; None is what nobody can tell yet."""

    waits: bool  # for a place in the engine
    wait: float | None = None
    first_token: float | None = None
    between_ends: float | None = None  # of two sequences, while the engine is full
    own_waiting: int = 0  # sequences of the same tenant that wait


NOTHING_WAITS = Outlook(waits=False, wait=0.0)


class _Held:
    """What one tenant holds."""

    __slots__ = ("sequences", "tokens")

    def __init__(self) -> None:
        self.sequences = 0
        self.tokens = 0


_NOTHING = _Held()


class Admitted:
    """What a call that was let in still holds."""

    __slots__ = ("_admission", "_sequences", "_tokens", "tenant")

    def __init__(self, admission: "Admission", asked: Asked) -> None:
        self.tenant = asked.tenant
        self._admission = admission
        self._sequences = asked.sequences
        self._tokens = asked.tokens

    def begun(self, tokens: int) -> None:
        """So many prompt tokens have a place in the engine."""
        tokens = min(tokens, self._tokens)
        self._tokens -= tokens
        self._admission.hold(self.tenant, 0, -tokens)

    def release(self) -> None:
        """The call's handler ends."""
        self._admission.hold(self.tenant, -self._sequences, -self._tokens)
        self._sequences = self._tokens = 0


class Admission:
    """What has been let in, and what else may come."""

    def __init__(self) -> None:
        self.sequences = 0
        self.queued_tokens = 0
        self._held: dict[str, _Held] = {}
        self._promised = PromisedRoom()
        # The two tenants that called last, and when: enough to tell whether somebody else has.
        self._latest = self._latest_other = ("", -math.inf)

    def admit(self, asked: Asked, limits: AdmissionLimits, outlook: Outlook, now: float) -> Admitted:
        """Let a call in. Raises Overloaded, and DeadlineExceeded for one whose first token would come too late."""
        if asked.tenant != self._latest[0]:
            self._latest_other = self._latest
        self._latest = (asked.tenant, now)
        if (refusal := self.refusal(asked, limits, outlook, now)) is not None:
            if isinstance(refusal, Overloaded):
                self._promised.promise(asked.tenant, refusal.retry_after.total_seconds(), now)
            raise refusal
        self.hold(asked.tenant, asked.sequences, asked.tokens)
        return Admitted(self, asked)

    def refusal(self, asked: Asked, limits: AdmissionLimits, outlook: Outlook, now: float) -> ServiceError | None:
        """Why a call would not be let in; None if it would. Nothing is counted."""
        if (too_many := self._too_many_sequences(asked, limits, now)) is not None:
            over = max(self.sequences + asked.sequences - limits.sequences, 1)
            return self._overloaded(too_many, asked, outlook, over * _between_ends(outlook), now)
        if outlook.waits and (too_many := self._too_many_tokens(asked, limits, now)) is not None:
            return self._overloaded(too_many, asked, outlook, _between_ends(outlook), now)
        if not (wait := outlook.wait):
            return None  # where nothing waits, only trying tells: who is never let in is never measured
        if outlook.waits and wait > (most := limits.wait_seconds) and not self._next_in_turn(asked, outlook, now):
            text = f"the engine's next place is {wait:.1f} s away by prediction; max_wait_seconds is {most:g}"
            return self._overloaded(text, asked, outlook, wait - most, now)
        return _too_late(asked, wait, outlook.first_token or wait)

    def is_full(self, asked: Asked, limits: AdmissionLimits, now: float) -> bool:
        """Whether a call would be refused whatever its outlook."""
        return self._too_many_sequences(asked, limits, now) is not None

    def retry_after(self, tenant: str, now: float, between_ends: float | None) -> timedelta:
        """When to come again for one whom the engine itself has refused."""
        each = between_ends or UNMEASURED_SECONDS
        delay = self._promised.delay(tenant, each, self._spacing(each), now)
        self._promised.promise(tenant, delay, now)
        return timedelta(seconds=delay)

    def hold(self, tenant: str, sequences: int, tokens: int) -> None:
        """Count what a tenant holds more, or less."""
        self.sequences += sequences
        self.queued_tokens += tokens
        if (held := self._held.get(tenant)) is None:
            held = self._held[tenant] = _Held()
        held.sequences += sequences
        held.tokens += tokens
        if not held.sequences:
            del self._held[tenant]

    def _too_many_sequences(self, asked: Asked, limits: AdmissionLimits, now: float) -> str | None:
        most, wanted = limits.sequences, asked.sequences
        if not self.sequences:
            return None
        if self.sequences + wanted > most:
            return f"{self.sequences} sequences run or wait, of {most} at most, and the call has {wanted}"
        own = self._held.get(asked.tenant, _NOTHING).sequences
        # A share is no reason to leave the engine's places empty, but for some that others find free when they come.
        if not own or self.sequences + wanted <= limits.places * (1 - _LEFT):
            return None
        if own + wanted > (share := self._share(asked.tenant, most, self.sequences - own, limits.tenant_share, now)):
            return f"{own} sequences of this tenant run or wait, of {share} at most now, and the call has {wanted}"
        return None

    def _too_many_tokens(self, asked: Asked, limits: AdmissionLimits, now: float) -> str | None:
        most, wanted = limits.queued_tokens, asked.tokens
        if not self.queued_tokens:
            return None
        if self.queued_tokens + wanted > most:
            return f"{self.queued_tokens} prompt tokens wait, of {most} at most, and the call has about {wanted}"
        own = self._held.get(asked.tenant, _NOTHING).tokens
        if own and own + wanted > (
            share := self._share(asked.tenant, most, self.queued_tokens - own, limits.tenant_share, now)
        ):
            return f"{own} prompt tokens of this tenant wait, of {share} at most now, and the call has about {wanted}"
        return None

    def _share(self, tenant: str, limit: int, others_hold: int, share: float, now: float) -> int:
        """How much of `limit` the tenant may hold."""
        if self._others_want_some(tenant, now):
            equal = limit / (len(self._held) + 1)  # as if one more came
            return math.floor(max(share * (limit - others_hold), equal))
        return limit if tenant == ANONYMOUS.name else limit - math.floor(limit * _LEFT)

    def _others_want_some(self, tenant: str, now: float) -> bool:
        name, at = self._latest_other if self._latest[0] == tenant else self._latest
        return len(self._held) > (tenant in self._held) or (name != tenant and now - at < _LATELY_SECONDS)

    def _next_in_turn(self, asked: Asked, outlook: Outlook, now: float) -> bool:
        """Whether the others make it wait and not the tenant itself.

        One that asks for little is among the next ones in the fair order; with few places even the next one's wait may
        be longer than is allowed, and whoever asks for too much would keep all the others out.
        """
        few = not outlook.own_waiting or outlook.own_waiting + asked.sequences <= _NEXT_IN_TURN
        return few and self._others_want_some(asked.tenant, now)

    def _spacing(self, each: float) -> float:
        """Between the moments that one tenant is told: all who are here share the ends of sequences."""
        return each * max(len(self._held), 1)

    def _overloaded(self, text: str, asked: Asked, outlook: Outlook, until_room: float, now: float) -> Overloaded:
        each = self._spacing(asked.sequences * _between_ends(outlook))
        delay = self._promised.delay(asked.tenant, until_room, each, now)
        return Overloaded(text, timedelta(seconds=delay))


def _between_ends(outlook: Outlook) -> float:
    return UNMEASURED_SECONDS if outlook.between_ends is None else outlook.between_ends


def _too_late(asked: Asked, wait: float, first_token: float) -> DeadlineExceeded | None:
    if asked.seconds_left is None or first_token <= asked.seconds_left:
        return None
    left = max(asked.seconds_left, 0)
    return DeadlineExceeded(
        f"the first token is {first_token:.2f} s away by prediction, {wait:.2f} s of them waiting for the engine, "
        f"and the call's deadline {left:.2f} s"
    )
