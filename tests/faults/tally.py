"""What a chaos run has come to so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.faults.checker import Break, both_ends_agree, breaks_of_call, log_is_clean, nobody_called
from tests.faults.history import ClientCall, ServerLog, tokens_of
from tests.faults.promises import record

_DEATHS = ("SIGKILL", "SIGTERM", "SIGSTOP")
_OF_TOKENS = ("numbers_in_order", "tokens_as_generated", "complete_if_ok", "usage_is_what_came")
_MOST_SHOWN = 40


class Tally:
    """Judges calls as they end, and both ends' views once a round is over."""

    def __init__(self) -> None:
        self.calls: list[ClientCall] = []  # of this round
        self.accepted = self.undisturbed = 0
        self.tokens = 0
        self.breaks: list[Break] = []
        self.outcomes: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def ended(self, call: ClientCall) -> None:
        """Judge a call by itself, and keep it for the server's view."""
        self.calls.append(call)
        self.breaks.extend(breaks_of_call(call))
        for end in call.ends:
            name = end.code.name if end.ours else f"{end.code.name} by gRPC"
            self.outcomes[f"{name} {end.reason}".strip()] += 1

    def join(self, log: ServerLog) -> None:
        """Judge what both ends say of this round's calls, and begin the next one."""
        for call in self.calls:
            self.breaks.extend(both_ends_agree(call, log))
            accepted = bool(log.of_rpc(call.trace))
            self.accepted += accepted
            self.undisturbed += accepted and not (call.disturbed or call.carrier_broke)
        self._tell_more({call.trace: call for call in self.calls}, log)
        self.breaks.extend(nobody_called((call.trace for call in self.calls), log))
        self.breaks.extend(log_is_clean(log.suspicious))
        self.tokens += tokens_of(self.calls)
        self.calls = []
        log.clear()

    def _tell_more(self, calls: Mapping[str, ClientCall], log: ServerLog) -> None:
        """Add to this round's breaks how their calls went at either end."""
        for place, broken in enumerate(self.breaks):
            if call := calls.get(broken.trace):
                lines = [dict(each.line) for each in log.of_rpc(call.trace)]
                self.breaks[place] = broken._replace(sentence=f"{broken.sentence} ({call.course}; the server: {lines})")

    def note(self, invariant: str, sentence: str, trace: str = "") -> None:
        """Add a break that was found elsewhere."""
        self.breaks.append(Break(invariant, trace, sentence))

    def last(self, status: int, log: ServerLog) -> None:
        """Judge how the server has ended, and what it wrote until then."""
        self.join(log)
        if status:
            self.note("ends_well", f"the server has ended with status {status}")

    @property
    def deaths(self) -> int:
        """How often the engine was killed, or stopped until it counted as hung."""
        return sum(self.faults[each] for each in _DEATHS)

    def report(self) -> Iterator[str]:
        """The run in lines."""
        yield f"{self.accepted} accepted calls, {self.tokens} tokens, {len(self.breaks)} breaks"
        yield f"of the calls {self.undisturbed} had nothing done to their connection that would excuse UNAVAILABLE"
        yield f"faults: {', '.join(f'{count} {fault}' for fault, count in sorted(self.faults.items()))}"
        yield from (f"{count:7} {outcome}" for outcome, count in self.outcomes.most_common())
        broken = Counter(each.invariant for each in self.breaks)
        yield from (f"{count:7} breaks of {invariant}" for invariant, count in broken.items())
        yield from (f"{each.invariant} {each.trace.lstrip('0')}: {each.sentence}" for each in self.breaks[:_MOST_SHOWN])

    def record(self, seed: int) -> None:
        """Write the results of the promises that the run measures."""
        broken = len(self.breaks)
        result = (
            f"{broken} breaks under {self.faults.total()} faults, {self.deaths} of them deaths and hangs of the "
            f"engine; nothing was done to the connections of {self.undisturbed} of the calls"
        )
        more: dict[str, Any] = {"faults": dict(self.faults), "outcomes": dict(self.outcomes)}
        record("one_status", n=self.accepted, failures=broken, result=result, passed=not broken, seed=seed, **more)
        wrong = sum(each.invariant in _OF_TOKENS for each in self.breaks)
        result, calls = f"{wrong} lost, doubled or wrong", (self.accepted, "calls")
        record(
            "tokens_in_order", n=self.tokens, failures=wrong, trials=calls, result=result, passed=not wrong, seed=seed
        )
