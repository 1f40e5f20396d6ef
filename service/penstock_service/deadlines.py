"""How long a call may take: what its caller has set, within what the server allows. Pure."""

from typing import NamedTuple, Self

from penstock_service.settings import Settings


class Deadline(NamedTuple):
    """The end of a call's time."""

    at: float  # by the monotonic clock
    limit: str = ""  # the server's own limit that sets it, as a sentence; empty for what the caller set


class Deadlines(NamedTuple):
    """The server's limits in seconds, each None for no limit."""

    default: float | None = None  # for a caller that sets none
    longest: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limits of a service."""
        longest = settings.max_deadline_seconds
        return cls(min(settings.default_deadline_seconds, longest), longest)

    def deadline(self, asked: float | None, now: float) -> Deadline | None:
        """The deadline of a call that arrives now and whose caller gives it `asked` seconds, or does not say."""
        if asked is None:
            if self.default is None:
                return None
            return Deadline(now + self.default, f"{_ends_after(self.default)} unless their callers set a deadline")
        if self.longest is not None and asked > self.longest:
            return Deadline(now + self.longest, _ends_after(self.longest))
        return Deadline(now + asked)


def _ends_after(seconds: float) -> str:
    return f"this server ends calls after {seconds:g} s"
