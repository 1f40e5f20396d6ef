"""A call's timeout and metadata, and the client's."""

import math
from typing import Any

import pytest

from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.call_options import CLIENT_DEFAULT, CallOptions


def test_a_call_has_the_clients_timeout_unless_it_has_its_own() -> None:
    options = CallOptions(5, None)

    assert options.timeout(CLIENT_DEFAULT) == 5
    assert options.timeout(2) == 2
    assert options.timeout(-1) == -1
    assert options.timeout(None) is None


@pytest.mark.parametrize("forever", [math.inf, 1e18])
def test_a_timeout_beyond_grpcs_clock_is_none(forever: float) -> None:
    assert CallOptions(forever, None).timeout(CLIENT_DEFAULT) is None


@pytest.mark.parametrize(("timeout", "error"), [("5", TypeError), (True, TypeError), (math.nan, ValueError)])
def test_what_is_no_number_of_seconds_is_refused(timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="timeout"):
        CallOptions(timeout, None)


def test_a_calls_metadata_replace_the_clients_by_key_and_may_repeat() -> None:
    options = CallOptions(None, {"a": "1", "b": "2"})

    assert options.metadata(None) == (("a", "1"), ("b", "2"))
    assert options.metadata([("b", "3"), ("b", "4")]) == (("a", "1"), ("b", "3"), ("b", "4"))


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
        CallOptions(None, metadata)
