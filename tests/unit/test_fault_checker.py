"""The checker of the chaos run finds every kind of break, and none in a history that is right."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from grpc import StatusCode

from penstock.v1 import generation_pb2 as pb
from tests.faults.checker import (
    both_ends_agree,
    breaks_of_call,
    jobs_are_balanced,
    log_is_clean,
    nobody_called,
    nothing_is_left,
)
from tests.faults.history import ClientCall, End, Expected, Message, ServerLog, trace_of

REQUEST = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4, "ignore_eos": True})
EXPECTED = Expected.of(REQUEST, context_length=100)
TEXTS = [f" {word}" for word in EXPECTED.text.split()]
OK = End(1.0, StatusCode.OK)
BROKEN = End(1.0, StatusCode.UNAVAILABLE, text="Socket closed")
DEAD = End(1.0, StatusCode.UNAVAILABLE, "ENGINE_DEAD", pushback="1000")


def message(number: int, finish: int = 0, usage: tuple[int, int] | None = None) -> Message:
    return Message(0.5, number, number, EXPECTED.tokens[number : number + 1], TEXTS[number], finish, usage)


def whole() -> ClientCall:
    """A stream of four chunks that is right."""
    chunks = [message(0), message(1), message(2), message(3, EXPECTED.finish, (EXPECTED.prompt_tokens, 4))]
    return ClientCall(trace_of(1), "stream", expected=EXPECTED, messages=chunks, ends=[OK])


def refused(end: End, **changes: object) -> ClientCall:
    return replace(whole(), messages=[], ends=[end], **changes)


def names(call: ClientCall) -> set[str]:
    return {each.invariant for each in breaks_of_call(call)}


PART = [message(0), message(1, pb.FINISH_REASON_DEADLINE, (EXPECTED.prompt_tokens, 2))]
RIGHT = {
    "whole": whole(),
    "read on": replace(whole(), messages=whole().messages[2:], first_seq=2, first_token=2),
    "read on at the end": replace(whole(), messages=[], first_seq=4, first_token=4, first_finish=EXPECTED.finish),
    "part of it at its deadline": replace(whole(), messages=PART, partial=True),
    "dead after output": replace(whole(), messages=[*whole().messages[:1], message(1, 0, (2, 2))], ends=[DEAD]),
    "refused": refused(DEAD),
    "broken": refused(BROKEN, path="proxy1", disturbed=True),
    "given up": refused(End(1.0, StatusCode.CANCELLED), cancelled=True),
    "late": refused(End(1.0, StatusCode.DEADLINE_EXCEEDED), deadline=0.9),
    "ended with its session": refused(End(1.0, StatusCode.CANCELLED), carrier_broke=True),
}


@pytest.mark.parametrize("call", RIGHT.values(), ids=RIGHT)
def test_a_call_that_is_right_breaks_nothing(call: ClientCall) -> None:
    assert list(breaks_of_call(call)) == []


def chunks(change: Callable[[list[Message]], list[Message]]) -> ClientCall:
    return replace(whole(), messages=change(whole().messages))


WRONG = {
    "no end": (replace(whole(), ends=[]), "ends_once"),
    "two ends": (replace(whole(), ends=[OK, DEAD]), "ends_once"),
    "output after the end": (replace(whole(), after_end=1), "ends_once"),
    "output after the last chunk": (chunks(lambda all_of: [*all_of, all_of[3]._replace(seq=4)]), "ends_once"),
    "a chunk is missing": (chunks(lambda all_of: [all_of[0], *all_of[2:]]), "numbers_in_order"),
    "a chunk comes twice": (chunks(lambda all_of: [all_of[0], *all_of]), "numbers_in_order"),
    "two chunks change places": (chunks(lambda all_of: [all_of[1], all_of[0], *all_of[2:]]), "numbers_in_order"),
    "another token": (chunks(lambda all_of: [all_of[0]._replace(tokens=(1,)), *all_of[1:]]), "tokens_as_generated"),
    "a token is missing": (chunks(lambda all_of: [all_of[0]._replace(tokens=()), *all_of[1:]]), "tokens_as_generated"),
    "another text": (chunks(lambda all_of: [all_of[0]._replace(text=" no"), *all_of[1:]]), "tokens_as_generated"),
    "OK without a finish": (chunks(lambda all_of: all_of[:2]), "complete_if_ok"),
    "another finish": (chunks(lambda all_of: [*all_of[:3], all_of[3]._replace(finish=1)]), "complete_if_ok"),
    "a failure after the finish": (replace(whole(), ends=[DEAD]), "complete_if_ok"),
    "usage of others": (chunks(lambda all_of: [*all_of[:3], all_of[3]._replace(usage=(2, 5))]), "usage_is_what_came"),
    "an answer to a bad request": (replace(whole(), kind="bad"), "refused_if_bad"),
    "a reason of nobody's": (refused(End(1.0, StatusCode.UNAVAILABLE, "TIRED", pushback="1")), "status_is_known"),
    "INTERNAL": (refused(End(1.0, StatusCode.INTERNAL, "INTERNAL")), "status_is_known"),
    "no word on retrying": (refused(DEAD._replace(pushback="")), "status_is_known"),
    "broken where nothing breaks": (refused(BROKEN), "status_is_known"),
    "broken over a proxy that let it be": (refused(BROKEN, path="proxy1"), "status_is_known"),
    "the rest is lost": (replace(whole(), messages=[], first_seq=1, first_token=1), "complete_if_ok"),
    "part of it before any deadline": (replace(whole(), messages=PART), "complete_if_ok"),
    "dead after output without usage": (replace(whole(), messages=[message(0)], ends=[DEAD]), "usage_is_what_came"),
    "cancelled by nobody": (refused(End(1.0, StatusCode.CANCELLED)), "status_is_known"),
    "late too early": (refused(End(1.0, StatusCode.DEADLINE_EXCEEDED), deadline=2.0), "status_is_known"),
    "late without a deadline": (refused(End(1.0, StatusCode.DEADLINE_EXCEEDED)), "status_is_known"),
    "UNKNOWN": (refused(End(1.0, StatusCode.UNKNOWN)), "status_is_known"),
}


@pytest.mark.parametrize(("call", "invariant"), WRONG.values(), ids=WRONG)
def test_a_call_that_is_wrong_is_found(call: ClientCall, invariant: str) -> None:
    assert invariant in names(call)


def logged(*lines: tuple[str, str], **more: str) -> ServerLog:
    log = ServerLog()
    for code, reason in lines:
        log.add({"trace_id": trace_of(1), "id": "g1", "code": code, "reason": reason, **more})
    return log


def disagreements(call: ClientCall, log: ServerLog) -> list[str]:
    return [each.sentence for each in both_ends_agree(call, log)]


def test_both_ends_may_say_the_same() -> None:
    assert disagreements(whole(), logged(("OK", ""))) == []
    assert disagreements(refused(DEAD), logged(("UNAVAILABLE", "ENGINE_DEAD"))) == []


def test_a_server_may_say_anything_once_of_a_call_whose_connection_broke() -> None:
    for lines in ([], [("OK", "")], [("CANCELLED", "CANCELLED")], [("UNAVAILABLE", "ENGINE_DEAD")]):
        assert disagreements(refused(BROKEN, path="proxy1"), logged(*lines)) == []


def test_a_server_that_says_another_thing_is_found() -> None:
    assert disagreements(whole(), logged(("CANCELLED", "CANCELLED")))
    assert disagreements(whole(), logged())
    assert disagreements(refused(DEAD), logged(("UNAVAILABLE", "DRAINING")))


def test_a_server_that_ends_a_call_twice_is_found() -> None:
    assert disagreements(whole(), logged(("OK", ""), ("OK", "")))
    assert disagreements(refused(BROKEN, path="proxy1"), logged(("OK", ""), ("CANCELLED", "CANCELLED")))


def test_a_generation_and_the_call_that_reads_it_are_two_things() -> None:
    log = logged(("OK", ""))
    log.add({"trace_id": trace_of(1), "id": "c1", "code": "CANCELLED", "generation": "g1"})

    assert disagreements(refused(BROKEN, path="proxy1"), log) == []


def test_each_input_of_a_batch_ends() -> None:
    call = replace(whole(), inputs=2)
    log = logged(("OK", ""))
    log.add({"trace_id": "of its own", "id": "i1", "code": "OK", "batch": "g1"})
    assert disagreements(call, log) == ["1 inputs of 2 have ended"]

    log.add({"trace_id": "of its own", "id": "i2", "code": "OK", "batch": "g1"})

    assert disagreements(call, log) == []


def test_a_call_that_nobody_made_is_found() -> None:
    assert list(nobody_called([trace_of(2)], logged(("OK", ""))))
    assert not list(nobody_called([trace_of(1)], logged(("OK", ""))))


def test_jobs_that_never_ended_or_ended_twice_are_found() -> None:
    counts = {"submitted": 3, "finished": 1, "failed": 1, "aborted": 1}
    assert not list(jobs_are_balanced({"counts": counts}))
    assert list(jobs_are_balanced({"counts": {**counts, "submitted": 4}}))
    assert list(jobs_are_balanced({"counts": {**counts, "finished": 2}}))


def test_what_is_left_is_found() -> None:
    baseline = {"calls": 0, "tasks": ["loop"], "objects": {"Recording": 0}, "counts": {"submitted": 1}}
    assert not list(nothing_is_left({**baseline, "counts": {"submitted": 9}}, baseline))
    for left in ({"calls": 1}, {"tasks": ["loop", "recording"]}, {"objects": {"Recording": 1}}):
        assert list(nothing_is_left({**baseline, **left}, baseline))


@pytest.mark.parametrize("line", ["Task was destroyed but it is pending!", "Traceback (most recent call last):"])
def test_signs_of_bugs_in_the_log_are_found(line: str) -> None:
    assert list(log_is_clean([line]))
    assert not list(log_is_clean(['{"event": "loaded"}']))
