"""Requests as vLLM understands them: what a reply cannot show."""

from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here: `make test` installs it")

from vllm.exceptions import QueueOverflowError, VLLMValidationError

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.vllm.refusals import QUEUE_FULL, REFUSED
from penstock_service.engine.vllm.translation import asked_tokens, finish, sampling_params
from penstock_service.errors import Unavailable


def params(defaults: dict[str, Any] | None = None, room: int = 100, **fields: Any) -> Any:
    return sampling_params(pb.GenerateRequest(prompt="x", **fields), defaults or {}, streamed=True, room=room)


def test_what_the_caller_says_is_stronger_than_the_models_defaults_and_zero_is_said() -> None:
    said = params({"temperature": 0.6, "top_p": 0.9}, sampling={"temperature": 0})

    assert said.temperature == 0
    assert params({"temperature": 0.6, "top_p": 0.9}).temperature == 0.6
    assert params({"temperature": 0.6}).top_p == 1


@pytest.mark.parametrize("seed", [-1, 0, 7, -(2**63), 2**63 - 1])
def test_every_seed_is_a_seed(seed: int) -> None:
    assert params(sampling={"seed": seed}).seed is not None
    assert params().seed is None


@pytest.mark.parametrize(
    ("stopping", "defaults", "expected"),
    [
        ({}, {}, (100, 0)),
        ({"max_tokens": 7}, {}, (7, 0)),
        ({"max_tokens": 5000, "min_tokens": 5000}, {}, (100, 100)),
        ({}, {"max_tokens": 4}, (4, 0)),
        ({"min_tokens": 8}, {"max_tokens": 4}, (8, 8)),
    ],
)
def test_tokens_are_bounded_by_the_room_and_never_below_what_was_asked_for(
    stopping: dict[str, int], defaults: dict[str, int], expected: tuple[int, int]
) -> None:
    said = params(defaults, stopping=stopping)

    assert (said.max_tokens, said.min_tokens) == expected


def test_reaching_max_tokens_is_told_from_a_full_context() -> None:
    asked = asked_tokens(pb.GenerateRequest(stopping={"max_tokens": 10}), {})

    assert finish("length", None, asked, 10).reason == pb.FINISH_REASON_LENGTH
    assert finish("length", None, asked, 9).reason == pb.FINISH_REASON_CONTEXT_LENGTH
    assert finish("length", None, None, 9).reason == pb.FINISH_REASON_CONTEXT_LENGTH


def test_an_abort_that_nobody_asked_for_is_never_a_normal_end() -> None:
    with pytest.raises(Unavailable, match="the engine has stopped"):
        finish("abort", None, None, 3)
    with pytest.raises(RuntimeError):
        finish("error", None, None, 3)


def test_vllms_refusals_are_known_by_their_types() -> None:
    assert issubclass(VLLMValidationError, REFUSED)
    assert issubclass(QueueOverflowError, QUEUE_FULL)
