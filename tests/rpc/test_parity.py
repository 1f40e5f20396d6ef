"""Answers are those of vLLM's own OpenAI server to the same requests, word for word and number for number."""

import asyncio
import uuid
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from penstock.v1 import generation_pb2 as pb
from tests.conftest import Running
from tests.rpc.openai_server import OpenAiServer, openai_server
from tests.rpc.parity_answers import Answer, Token, openai_answer, penstock_answer
from tests.rpc.parity_case import Case
from tests.rpc.parity_cases import CASES

pytestmark = [pytest.mark.real_vllm, pytest.mark.slow, pytest.mark.timeout(600)]

# bfloat16 weights; both engines compute the same tokens in the same order, but not always in the same steps.
LOGPROB = {"abs": 2e-3, "rel": 2e-3}
STREAMED = [name for name, case in CASES.items() if "prompt_logprobs" not in case.body]


@pytest.fixture(scope="module")
def vllm_server() -> Iterator[OpenAiServer]:
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: `make test` installs it")
    with openai_server() as server:
        yield server


@pytest.mark.parametrize("name", CASES)
async def test_a_whole_answer_is_vllms(real: Running, vllm_server: OpenAiServer, name: str) -> None:
    case = _salted(CASES[name])
    expected = await asyncio.to_thread(vllm_server.ask, case.path, case.body)
    assert expected.is_success, expected.text

    reply = await real.generation.Generate(case.request)

    _assert_same(penstock_answer([reply]), openai_answer([expected.json()]), case.request)


@pytest.mark.parametrize("name", STREAMED)
async def test_a_streamed_answer_is_vllms(real: Running, vllm_server: OpenAiServer, name: str) -> None:
    case = _salted(CASES[name])
    expected = await asyncio.to_thread(vllm_server.events, case.path, case.body)

    chunks = [chunk async for chunk in real.generation.StreamGenerate(case.request)]

    _assert_same(penstock_answer(chunks), openai_answer(expected), case.request)


def _salted(case: Case) -> Case:
    """The same for both, and new: what either engine has cached before would change the last digits."""
    salt = uuid.uuid4().hex
    request = pb.GenerateRequest()
    request.CopyFrom(case.request)
    request.cache_salt = salt
    return Case(case.path, {**case.body, "cache_salt": salt}, request)


def _assert_same(answer: Answer, expected: Answer, request: pb.GenerateRequest) -> None:
    assert len(answer.choices) == len(expected.choices)
    for ours, theirs in zip(answer.choices, expected.choices, strict=True):
        assert ours.token_ids == theirs.token_ids
        assert (ours.text, ours.reasoning, ours.calls) == (theirs.text, theirs.reasoning, theirs.calls)
        assert ours.finish == theirs.finish
        # What ended a call of tools is nothing that the caller asked for.
        assert ours.stop == (None if ours.finish == "tool_calls" else theirs.stop)
        _assert_same_tokens(ours.tokens, theirs.tokens, request.response.logprobs)
    _assert_same_tokens(answer.prompt, expected.prompt, request.response.prompt_logprobs)
    assert answer.prompt_tokens == expected.prompt_tokens
    assert answer.completion_tokens == expected.completion_tokens


def _assert_same_tokens(tokens: list[Token], expected: list[Token], candidates: int) -> None:
    assert [token.token_id for token in tokens] == [token.token_id for token in expected]
    for ours, theirs in zip(tokens, expected, strict=True):
        assert ours.logprob == (None if theirs.logprob is None else pytest.approx(theirs.logprob, **LOGPROB))
        likeliest = sorted(theirs.candidates.items(), key=lambda entry: -entry[1])[:candidates]
        assert ours.candidates == pytest.approx(dict(likeliest), **LOGPROB)
