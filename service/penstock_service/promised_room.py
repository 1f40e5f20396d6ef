"""When those who find no room are told to come again: not all at the same moment. Pure."""

# Longer than that nobody knows the load.
LONGEST_SECONDS = 30.0
# While nothing has been measured.
UNMEASURED_SECONDS = 1.0
# However fast it is: who comes again at once has been told nothing.
_LEAST_SECONDS = 0.01
# Of one who needs much, so that the next ones are still told different moments.
_LONGEST_EACH = LONGEST_SECONDS / 8
_MOST_TENANTS = 1024


class PromisedRoom:
    """The latest moment that each tenant was told: later with each of its refusals, by what that one needs.

    One tenant's refusals put off nobody else: who comes again without waiting would only send the others away.
    """

    def __init__(self) -> None:
        self._latest: dict[str, float] = {}

    def delay(self, tenant: str, until_room: float, each: float, now: float) -> float:
        """Seconds from now: the room of one who needs `each` after those before, `until_room` from now at the least.

        Past the longest delay it begins anew: further callers spread over the same time.
        """
        least = min(max(until_room, _LEAST_SECONDS), LONGEST_SECONDS / 2)
        delay = max(self._latest.get(tenant, 0.0) + min(each, _LONGEST_EACH) - now, least)
        return delay if delay <= LONGEST_SECONDS else least

    def promise(self, tenant: str, delay: float, now: float) -> None:
        """Somebody was told to come in `delay` seconds."""
        if len(self._latest) >= _MOST_TENANTS and tenant not in self._latest:
            self._latest = {name: latest for name, latest in self._latest.items() if latest > now}
            if len(self._latest) >= _MOST_TENANTS:
                self._latest.clear()
        self._latest[tenant] = now + delay
