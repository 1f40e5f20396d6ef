"""Whether an endpoint gets calls: its failures in a row, its ejection and the way back. Pure.

in use --3 failures in a row--> ejected --cooldown over--> being probed --it answers--> in use, one failure from
  ^      or "leaving"              ^                            |                       the next ejection
  +--- a call works there ---------+------- it does not --------+
"""

from __future__ import annotations

FAILURES_TO_EJECT = 3
FIRST_COOLDOWN_SECONDS = 5.0
LONGEST_COOLDOWN_SECONDS = 30.0
JITTER = 0.2  # clients that saw the same outage come back at different times


class Standing:
    """The record of one endpoint. Times are those of one monotonic clock, in seconds."""

    __slots__ = ("_ejections", "_last_failure", "_probing", "ejected_until", "failures", "left")

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.ejected_until: float | None = None
        self.left = float("-inf")  # when it last said that it is leaving, while ejected; else long ago
        self._ejections = 0  # since a call worked
        self._last_failure = float("-inf")
        self._probing = False

    @property
    def ejected(self) -> bool:
        return self.ejected_until is not None

    def failed(self, began: float, now: float, may_eject: bool, chance: float, leaving: bool = False) -> float | None:
        """A call that began then has failed. Returns the cooldown if that ejects the endpoint; `chance` is in [0, 1).

        One that says that it is leaving is believed the first time.

        Calls that began before the last failure count with it: those of one broken connection fail together, and
        whether it was more than that only a later call can tell.
        """
        if self.ejected:
            self.left = now if leaving else self.left
            return None
        if began >= self._last_failure:
            self.failures += 1
        elif not leaving:
            return None
        self._last_failure = now
        if not (may_eject and (leaving or self.failures >= FAILURES_TO_EJECT)):
            return None
        self.left = now if leaving else self.left
        return self._eject(now, chance)

    def worked(self, began: float) -> bool:
        """A call that began then was answered. Returns whether that ends an ejection.

        One that began before the last failure tells nothing: a server that drains finishes its calls and takes none.
        """
        if began < self._last_failure:
            return False
        restored = self.ejected
        self.failures = self._ejections = 0
        self.ejected_until, self.left = None, float("-inf")
        return restored

    def probe_due(self, now: float) -> bool:
        return self.ejected_until is not None and now >= self.ejected_until and not self._probing

    def probe_begins(self) -> None:
        self._probing = True

    def probed(self, answers: bool, now: float, chance: float) -> float | None:
        """The probe is over. Returns the next cooldown if the endpoint stays out."""
        self._probing = False
        if not self.ejected:
            return None
        if answers:
            self.ejected_until, self.left = None, float("-inf")
            self.failures = FAILURES_TO_EJECT - 1
            return None
        self.failures += 1
        return self._eject(now, chance)

    def _eject(self, now: float, chance: float) -> float:
        longest = min(LONGEST_COOLDOWN_SECONDS, FIRST_COOLDOWN_SECONDS * 2.0**self._ejections)
        self._ejections += 1
        cooldown = longest * (1 - JITTER * chance)
        self.ejected_until = now + cooldown
        return cooldown
