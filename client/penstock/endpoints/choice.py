"""Which endpoint takes the next call. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from penstock.endpoints.endpoint import CallsT, Endpoint


def choose(endpoints: Iterable[Endpoint[CallsT]], avoid: Collection[str], turn: int) -> Endpoint[CallsT]:
    """The one with the fewest calls in flight; `turn`, counted up from call to call, decides between equals.

    Those that are ejected or to be avoided are taken only where there is no other, the ejected ones last; of these the
    ones that said that they are leaving come after the rest, as long ago as may be: what left first is back first, and
    what has just left has the fewest calls in flight because it refuses them all.
    """
    every = list(endpoints)
    in_use = [endpoint for endpoint in every if not endpoint.standing.ejected]
    wanted = [endpoint for endpoint in in_use if endpoint.address.endpoint not in avoid]
    others = [endpoint for endpoint in every if endpoint.address.endpoint not in avoid]
    candidates = wanted or in_use or others or every
    return min(_from_turn(candidates, turn), key=lambda endpoint: (endpoint.standing.left, endpoint.in_flight))


def _from_turn(endpoints: Sequence[Endpoint[CallsT]], turn: int) -> Sequence[Endpoint[CallsT]]:
    start = turn % len(endpoints)
    return [*endpoints[start:], *endpoints[:start]]
