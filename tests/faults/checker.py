"""The invariants of a load under faults, each a pure function over what both ends know (`history`).

Who is right where the two ends differ: a caller who sees OK or a status with our ErrorInfo has it from the server,
whose line must say the same. Any other status was made by gRPC, at the caller's end or on the way: CANCELLED where the
caller cancelled, DEADLINE_EXCEEDED where its deadline passed, UNAVAILABLE where the connection broke. Then the server
may have ended the call as it likes, or never have seen it; but it must have ended it at most once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from grpc import StatusCode

from penstock.v1.generation_pb2 import FINISH_REASON_DEADLINE
from tests.faults.history import ClientCall, End, ServerLog

# The published list: (code, ErrorInfo.reason). INTERNAL is ours, too, and always a break.
PUBLISHED = {
    (StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    (StatusCode.INVALID_ARGUMENT, "CONTEXT_LENGTH"),
    (StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
    (StatusCode.NOT_FOUND, "ADAPTER_NOT_FOUND"),
    (StatusCode.NOT_FOUND, "GENERATION_NOT_FOUND"),
    (StatusCode.OUT_OF_RANGE, "CHUNKS_GONE"),
    (StatusCode.ALREADY_EXISTS, "KEY_REUSED"),
    (StatusCode.FAILED_PRECONDITION, "FEATURE_OFF"),
    (StatusCode.FAILED_PRECONDITION, "ADAPTER_REFUSED"),
    (StatusCode.FAILED_PRECONDITION, "ADAPTER_IN_USE"),
    (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
    (StatusCode.RESOURCE_EXHAUSTED, "QUOTA"),
    (StatusCode.RESOURCE_EXHAUSTED, "SLOW_READER"),
    (StatusCode.RESOURCE_EXHAUSTED, "ADAPTERS_FULL"),
    (StatusCode.UNAVAILABLE, "LOADING"),
    (StatusCode.UNAVAILABLE, "DRAINING"),
    (StatusCode.UNAVAILABLE, "ENGINE_DEAD"),
    (StatusCode.UNAVAILABLE, "ENGINE_STALLED"),
    (StatusCode.DEADLINE_EXCEEDED, "DEADLINE"),
    (StatusCode.CANCELLED, "CANCELLED"),
    (StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
    (StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
}

# With which gRPC's own retries are a question. Parts of an RPC (calls of a session, inputs of a batch) have no
# trailers.
_RETRIED = (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED)

# gRPC's own timers are this exact.
_DEADLINE_JITTER_SECONDS = 0.05

_SIGNS_OF_BUGS = ("Traceback", "Task was destroyed", "never retrieved", "never awaited", "internal error", "Unexpected")


class Break(NamedTuple):
    """A broken invariant."""

    invariant: str
    trace: str
    sentence: str


def breaks_of_call(call: ClientCall) -> Iterator[Break]:
    """What a call that has ended breaks by itself, whatever the server says."""
    for check in CALL_CHECKS:
        for sentence in check(call):
            yield Break(check.__name__, call.trace, f"{call.kind} over {call.path}: {sentence}")


def ends_once(call: ClientCall) -> Iterator[str]:
    """I1, I5: one terminal status, and nothing after it."""
    if len(call.ends) != 1:
        yield f"{len(call.ends)} terminal statuses {[end.code.name for end in call.ends]}"
    if call.after_end:
        yield f"{call.after_end} messages after the end"
    finals = [place for place, message in enumerate(call.messages) if message.usage is not None or message.finish]
    if finals and finals[0] != len(call.messages) - 1:
        yield f"{len(call.messages) - 1 - finals[0]} messages after the last one"


def numbers_in_order(call: ClientCall) -> Iterator[str]:
    """I2: numbers without gap or repeat, from where the reading began."""
    numbers = [message.seq for message in call.messages]
    if numbers != list(range(call.first_seq, call.first_seq + len(numbers))):
        yield f"chunks {numbers} from {call.first_seq} on"


def tokens_as_generated(call: ClientCall) -> Iterator[str]:
    """I3: each token is the engine's function of the request and of its place."""
    if call.expected is None:
        if call.messages:
            yield "output where none is expected"
        return
    tokens = [token for message in call.messages for token in message.tokens]
    wanted = call.expected.tokens[call.first_token :][: len(tokens)]
    if tokens != list(wanted):
        yield f"tokens {tokens} instead of {list(wanted)}, from {call.first_token} on"
    text = "".join(message.text for message in call.messages)
    if text not in call.expected.text or (not call.first_token and not call.expected.text.startswith(text)):
        yield f"text {text!r}, which is none of {call.expected.text!r}"


def refused_if_bad(call: ClientCall) -> Iterator[str]:
    """A request that breaks the contract is not answered."""
    if call.kind in ("bad", "too large") and any(end.code is StatusCode.OK for end in call.ends):
        yield "OK for a bad request"


def complete_if_ok(call: ClientCall) -> Iterator[str]:
    """A call that ends with OK has everything; one that fails has no finish."""
    if call.expected is None or len(call.ends) != 1:
        return
    finish, ok = call.finish, call.ends[0].code is StatusCode.OK
    if not ok and call.ends[0].ours and call.messages and call.messages[-1].finish:
        yield f"{call.ends[0].reason} after finish {finish}"
    if not ok:
        return
    if not finish:
        yield "OK without a finish"
    elif finish != call.expected.finish and not (finish == FINISH_REASON_DEADLINE and call.partial):
        yield f"finish {finish} instead of {call.expected.finish}"
    if finish == call.expected.finish and call.tokens != len(call.expected.tokens):
        yield f"OK with {call.tokens} of {len(call.expected.tokens)} tokens"


def usage_is_what_came(call: ClientCall) -> Iterator[str]:
    """I4: usage counts the tokens of the generation up to there; nothing, if it ended before the engine saw it.

    Whoever got output and a status of ours got usage, too, also where the status is a failure. But what a slow reader
    left is thrown away, whatever ends its stream; on a busy machine any caller may be one, and is told so. And at its
    own deadline gRPC throws away what its caller has not taken, though it tells the server's status: 15 to 39 of 100
    such streams on a busy machine. A caller without gRPC gets it all (test_deadlines).
    """
    usage = call.messages[-1].usage if call.messages else None
    if usage is None and call.expected is not None and call.messages and call.kind != "unread":
        for end in call.ends:
            own_deadline = end.reason == "DEADLINE" and call.deadline is not None
            if end.ours and end.reason != "SLOW_READER" and not own_deadline:
                yield f"{call.tokens} tokens and {end.code.name} {end.reason} without usage"
    if usage is None or call.expected is None or (usage == (0, 0) and not call.tokens):
        return
    if usage != (call.expected.prompt_tokens, call.tokens):
        yield f"usage {usage} after {call.tokens} tokens of a prompt of {call.expected.prompt_tokens}"


def status_is_known(call: ClientCall) -> Iterator[str]:
    """I10: a status of ours is a published one; one of gRPC's has its cause in what happened to the call."""
    for end in call.ends:
        if end.code is StatusCode.OK:
            continue
        if call.kind == "client":  # which tells its errors by their types
            if end.code in (StatusCode.INTERNAL, StatusCode.UNKNOWN):
                yield f"{end.reason}: {end.text}"
            continue
        if end.ours and (end.code, end.reason) not in PUBLISHED:
            yield f"{end.code.name} {end.reason} is not published"
        if end.ours and end.code in _RETRIED and not end.pushback and call.kind not in ("call", "input"):
            yield f"{end.code.name} {end.reason} without grpc-retry-pushback-ms"
        if not end.ours and not _has_a_cause(call, end):
            yield f"{end.code.name} of gRPC's without a cause: {end.text}"


def _has_a_cause(call: ClientCall, end: End) -> bool:
    if call.carrier_broke:
        return True
    match end.code:
        case StatusCode.CANCELLED:
            return call.cancelled
        case StatusCode.DEADLINE_EXCEEDED:
            waited = end.seconds - call.sent
            return call.deadline is not None and waited > call.deadline - _DEADLINE_JITTER_SECONDS
        case StatusCode.UNAVAILABLE:
            return call.disturbed
        case StatusCode.INTERNAL:  # what grpc.aio's client makes of a write to a connection that has just broken
            return call.disturbed and end.text == "Internal error from Core"
        case StatusCode.RESOURCE_EXHAUSTED:
            return call.kind == "too large"
    return False


CALL_CHECKS = (
    ends_once,
    numbers_in_order,
    tokens_as_generated,
    refused_if_bad,
    complete_if_ok,
    usage_is_what_came,
    status_is_known,
)


def both_ends_agree(call: ClientCall, log: ServerLog) -> Iterator[Break]:
    """I1: the server has ended the call once, as its caller saw it wherever the status is ours."""
    if call.kind in ("client", "input"):
        return  # many attempts, and a part of a call
    lines = log.of_rpc(call.trace)
    seen = [(line.code, line.reason) for line in lines]
    for sentence in _disagreements(call, seen):
        yield Break("both_ends_agree", call.trace, f"{call.kind} over {call.path}: {sentence}")
    for line in lines:
        if call.inputs and log.inputs[line.id] != call.inputs:
            yield Break("both_ends_agree", call.trace, f"{log.inputs[line.id]} inputs of {call.inputs} have ended")


def _disagreements(call: ClientCall, seen: list[tuple[str, str]]) -> Iterator[str]:
    if len(seen) > 1:
        yield f"the server ended it {len(seen)} times: {seen}"
    if len(call.ends) == 1 and call.ends[0].ours:
        end = (call.ends[0].code.name, call.ends[0].reason)
        if seen != [end]:
            yield f"its caller saw {end}, the server {seen}"


def nobody_called(calls: Iterable[str], log: ServerLog) -> Iterator[Break]:
    """I1: the server answered no call that was not made."""
    for trace in log.calls.keys() - set(calls):
        yield Break("nobody_called", trace, f"the server ended {log.calls[trace]}, which nobody called")


def jobs_are_balanced(state: Mapping[str, Any]) -> Iterator[Break]:
    """I6: every job that was submitted has finished, failed or been aborted, once."""
    counts = Counter(state["counts"])
    submitted = counts.pop("submitted")
    if submitted != counts.total():
        yield Break("jobs_are_balanced", "", f"{submitted} submitted, {dict(counts)} ended")


def nothing_is_left(state: Mapping[str, Any], baseline: Mapping[str, Any]) -> Iterator[Break]:
    """I7: when no call runs, everything is as it was before the first one."""
    for what in baseline.keys() - {"counts"}:
        if state[what] != baseline[what]:
            yield Break("nothing_is_left", "", f"{what}: {_difference(state[what], baseline[what])}")


def _difference(now: Any, before: Any) -> str:
    if isinstance(now, list):
        more, fewer = Counter(now) - Counter(before), Counter(before) - Counter(now)
        return f"{dict(more)} more, {dict(fewer)} fewer"
    return f"{now} instead of {before}"


def log_is_clean(lines: Iterable[str]) -> Iterator[Break]:
    """I9: nothing in the log tells of a bug."""
    for line in lines:
        if any(sign in line for sign in _SIGNS_OF_BUGS):
            yield Break("log_is_clean", "", line.strip())
