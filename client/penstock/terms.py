"""What a call's keywords and the client's defaults come to. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from penstock import arguments
from penstock.arguments import ArgumentValueError
from penstock.call_options import (
    CLIENT_DEFAULT,
    CacheUse,
    ClientDefault,
    MetadataLike,
    Pairs,
    TimeoutLike,
    merged,
)
from penstock.retry import Retry, changed_retry
from penstock.timeouts import HasTimeRemaining, Timeout, replaced, seconds_left

_NO_LIMITS = Timeout()
_RETRY = Retry()


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one call, or for several that belong together.

    timeout: the limits. ends: when the total is used up, on time.monotonic(); None for never.
    cache: None leaves it to the cache.
    """

    timeout: Timeout
    ends: float | None
    metadata: Pairs
    retry: Retry
    resume: bool
    cache: CacheUse | None
    tier: str | None

    def left(self, now: float) -> float | None:
        """Seconds until the total is used up; None without one."""
        return None if self.ends is None else self.ends - now


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for calls that say nothing else."""

    timeout: Timeout = _NO_LIMITS
    tiers: Mapping[str, Timeout] = dataclasses.field(default_factory=dict)
    tier: str | None = None
    metadata: Pairs = ()
    retry: Retry = _RETRY
    resume: bool = False
    cache: CacheUse | None = None

    def terms(
        self,
        now: float,
        *,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        tier: str | None = None,
        deadline: HasTimeRemaining | float | None = None,
        metadata: MetadataLike | None = None,
        retry: Retry | None = None,
        max_retries: int | None = None,
        resume: bool | None = None,
        cache: CacheUse | None = None,
    ) -> Terms:
        """What holds for a call that begins now. The TypeError or ValueError of a wrong argument names it."""
        changed = self.changed(timeout, tier, metadata, retry, max_retries, resume, cache)
        limits, left = changed.timeout, seconds_left(deadline)
        if left is not None and (limits.total is None or left < limits.total):
            limits = dataclasses.replace(limits, total=left)
        return Terms(
            limits,
            None if limits.total is None else now + limits.total,
            changed.metadata,
            changed.retry,
            changed.resume,
            changed.cache,
            changed.tier,
        )

    def changed(
        self,
        timeout: TimeoutLike = CLIENT_DEFAULT,
        tier: str | None = None,
        metadata: MetadataLike | None = None,
        retry: Retry | None = None,
        max_retries: int | None = None,
        resume: bool | None = None,
        cache: CacheUse | None = None,
    ) -> Defaults:
        """These with what is given in their place. A tier gives way to a timeout that comes with or after it."""
        limits = self.timeout
        if tier is not None:
            limits = self._tier(tier)
        if not isinstance(timeout, ClientDefault):
            limits = replaced(limits, timeout)
        return Defaults(
            limits,
            self.tiers,
            self.tier if tier is None else tier,
            merged(self.metadata, metadata) if metadata is not None else self.metadata,
            changed_retry(self.retry, retry, max_retries),
            self.resume if resume is None else arguments.flag("resume", resume),
            self.cache if cache is None else _cache_use(cache),
        )

    def _tier(self, tier: object) -> Timeout:
        name = arguments.text("tier", tier)
        if name not in self.tiers:
            known = ", ".join(self.tiers) or "none"
            raise ArgumentValueError("tier", f"is {name[:64]!r}; the client's tiers are: {known}")
        return self.tiers[name]


def tier_limits(base: Timeout, tiers: Mapping[str, Timeout | float] | None) -> dict[str, Timeout]:
    """The limits of each tier; one that is a number has the client's own but for the total."""
    given = {} if tiers is None else arguments.mapping("tiers", tiers, "a dict from names to Timeouts")
    return {arguments.text("tiers", name): replaced(base, limits, f"tiers[{name!r}]") for name, limits in given.items()}


def _cache_use(value: object) -> CacheUse:
    return arguments.one_of("cache", value, ("use", "refresh", "off"))  # type: ignore[return-value]


def client_defaults(
    timeout: Timeout | float | None,
    tiers: Mapping[str, Timeout | float] | None,
    metadata: MetadataLike | None,
    retry: Retry | None,
    resume: bool,
) -> Defaults:
    """The defaults of a client, from the arguments it is made with."""
    limits = replaced(Timeout(), timeout)
    return Defaults(limits, tier_limits(limits, tiers)).changed(metadata=metadata, retry=retry, resume=resume)
