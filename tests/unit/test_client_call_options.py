"""A call's limits, metadata and other options, and the client's."""

import math
from typing import Any

import pytest

from penstock import Retry, Timeout
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.terms import Defaults, Terms, client_defaults


def defaults(timeout: Any = None, metadata: Any = None, **tiers: Any) -> Defaults:
    return client_defaults(timeout, tiers, metadata, None, False)


def terms(client: Defaults, **options: Any) -> Terms:
    return client.terms(100.0, **options)


class Context:
    """A servicer's context."""

    def __init__(self, remaining: float | None) -> None:
        self.remaining = remaining

    def time_remaining(self) -> float | None:
        return self.remaining


def test_a_call_has_the_clients_timeout_unless_it_has_its_own() -> None:
    client = defaults(5)

    assert terms(client).timeout == Timeout(5)
    assert terms(client, timeout=2).timeout == Timeout(2)
    assert terms(client, timeout=-1).timeout == Timeout(-1)
    assert terms(client, timeout=None).timeout == Timeout()


def test_the_total_ends_at_one_moment() -> None:
    assert terms(defaults(5)).ends == 105.0
    assert terms(defaults()).ends is None
    assert terms(defaults(5)).left(103.0) == 2.0


def test_a_number_replaces_the_total_and_a_timeout_replaces_all() -> None:
    client = defaults(Timeout(60, first_token=5, idle=2))

    assert terms(client, timeout=20).timeout == Timeout(20, first_token=5, idle=2)
    assert terms(client, timeout=Timeout(idle=1)).timeout == Timeout(idle=1)


def test_a_tier_has_its_own_limits_and_a_timeout_changes_them() -> None:
    client = defaults(Timeout(60, connect=1), chat=Timeout(30, first_token=5), embed=10)

    assert terms(client, tier="chat").timeout == Timeout(30, first_token=5)
    assert terms(client, tier="chat", timeout=7).timeout == Timeout(7, first_token=5)
    assert terms(client, tier="embed").timeout == Timeout(10, connect=1)
    assert terms(client, tier="chat").tier == "chat"


def test_an_unknown_tier_is_refused_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(ValueError, match="tier is 'speed'; the client's tiers are: chat, embed"):
        terms(defaults(chat=1, embed=2), tier="speed")


@pytest.mark.parametrize(
    ("deadline", "total"), [(Context(3.0), 3.0), (Context(30.0), 5.0), (Context(None), 5.0), (2, 2), (None, 5)]
)
def test_a_call_ends_with_its_callers_deadline(deadline: Any, total: float) -> None:
    assert terms(defaults(5), deadline=deadline).timeout.total == total


def test_a_deadline_bounds_a_call_without_limits() -> None:
    assert terms(defaults(), deadline=Context(3.0)).ends == 103.0


def test_options_of_a_copy_are_the_defaults_of_its_calls() -> None:
    client = defaults(5, {"a": "1"}, chat=Timeout(30, idle=3))

    copy = client.changed(tier="chat", retry=Retry(attempts=1), resume=True, metadata={"b": "2"}, cache="off")

    found = terms(copy)
    assert (found.timeout, found.tier, found.retry.attempts) == (Timeout(30, idle=3), "chat", 1)
    assert (found.resume, found.metadata, found.cache) == (True, (("a", "1"), ("b", "2")), "off")
    assert terms(copy, resume=False, timeout=1).timeout == Timeout(1, idle=3)


@pytest.mark.parametrize("forever", [math.inf, 1e18])
def test_a_timeout_beyond_grpcs_clock_is_none(forever: float) -> None:
    assert terms(defaults(forever)).timeout == Timeout()


@pytest.mark.parametrize(("timeout", "error"), [("5", TypeError), (True, TypeError), (math.nan, ValueError)])
def test_what_is_no_number_of_seconds_is_refused(timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="timeout"):
        defaults(timeout)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tier": 1}, "tier must be a str"),
        ({"deadline": "soon"}, "deadline must be a servicer's context or a number"),
        ({"retry": 3}, "retry must be a Retry"),
        ({"resume": 1}, "resume must be a bool"),
        ({"cache": "always"}, "cache is 'always'; it must be one of use, refresh, off"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        terms(defaults(), **options)


@pytest.mark.parametrize("limit", ["connect", "first_token", "idle"])
def test_a_limit_on_a_step_is_above_0(limit: str) -> None:
    with pytest.raises(ValueError, match=rf"timeout\.{limit} is 0\.0; it must be above 0"):
        Timeout(**{limit: 0})


def test_a_calls_metadata_replace_the_clients_by_key_and_may_repeat() -> None:
    client = defaults(None, {"a": "1", "b": "2"})

    assert terms(client).metadata == (("a", "1"), ("b", "2"))
    assert terms(client, metadata=[("b", "3"), ("b", "4")]).metadata == (("a", "1"), ("b", "3"), ("b", "4"))


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"Upper": "x"}, ArgumentValueError),
        ({"": "x"}, ArgumentValueError),
        ({"a": "ü"}, ArgumentValueError),
        ({"a": "line\nbreak"}, ArgumentValueError),
        ({"a": 5}, ArgumentTypeError),
        ({"a": b"x"}, ArgumentTypeError),
        ({"a-bin": "x"}, ArgumentTypeError),
        ({5: "x"}, ArgumentTypeError),
        ([("a",)], ArgumentTypeError),
        (["ab"], ArgumentTypeError),
    ],
)
def test_metadata_that_grpc_cannot_send_are_refused(metadata: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="metadata"):
        defaults(None, metadata)
