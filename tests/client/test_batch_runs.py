"""Many inputs, so many calls at a time: results in order, errors apart, one time limit, and an early end for all."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from penstock import APIError, APITimeoutError, BadRequestError, Cache, Reply
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from tests.client.conftest import BlockingCaller, Caller, MakeCaller, in_thread
from tests.client.script import Failure
from tests.client.scripted_server import ScriptedServer

PROMPTS = [f"Input {number}" for number in range(20)]


def asked(server: ScriptedServer) -> list[str]:
    return [request.prompt for request in server.requests]


async def seen(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 5)


async def test_each_input_has_its_reply_in_its_place(caller: Caller, server: ScriptedServer) -> None:
    run = await caller.call("batch", PROMPTS, concurrency=4, max_tokens=3)

    assert sorted(asked(server)) == sorted(PROMPTS)
    assert all(request.stopping.max_tokens == 3 for request in server.requests)
    assert (len(run), len(run.replies), run.errors) == (20, 20, {})
    assert run[0].text == run.replies[0].text == "Hello wörld"
    assert [reply.text for reply in run[:2]] == ["Hello wörld"] * 2


async def test_inputs_are_prompts_token_ids_and_messages(caller: Caller, server: ScriptedServer) -> None:
    await caller.call("batch", ["Once", [1, 2], [{"role": "user", "content": "Hi"}]], concurrency=1)

    assert [request.WhichOneof("input") for request in server.requests] == ["prompt", "token_ids", "conversation"]


async def test_results_keep_their_places_whatever_the_order_of_their_ends(
    caller: Caller, server: ScriptedServer
) -> None:
    server.block_prompt = "slow"
    server.failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "no such thing", only_prompt="quick")

    calling = asyncio.create_task(caller.call("batch", ["slow", "quick", "last"], concurrency=2))
    await seen(server.blocked)
    while "last" not in asked(server):  # noqa: ASYNC110  # counts are no events
        await asyncio.sleep(0.001)
    server.release.set()

    assert [type(result) for result in await calling] == [Reply, BadRequestError, Reply]


async def test_no_more_calls_run_at_a_time_than_were_asked_for(caller: Caller, server: ScriptedServer) -> None:
    server.block_after = 0
    server.crowd = 3

    calling = asyncio.create_task(caller.call("batch", PROMPTS, concurrency=3))
    await seen(server.crowded)
    begun = len(server.requests)
    server.release.set()
    await calling

    assert begun == 3
    assert server.most_active == 3


async def test_an_error_is_the_result_of_its_input_alone(caller: Caller, server: ScriptedServer) -> None:
    server.failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "no such thing", only_prompt="Input 3")

    run = await caller.call("batch", PROMPTS[:6], concurrency=2)

    assert list(run.errors) == [3]
    assert [type(result) for result in run] == [Reply] * 3 + [BadRequestError] + [Reply] * 2
    with pytest.raises(BadRequestError, match="no such thing"):
        _ = run.replies


async def test_the_first_error_can_end_the_rest(caller: Caller, server: ScriptedServer) -> None:
    server.block_prompt = "Input 1"
    server.failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, "no such thing", only_prompt="Input 0")

    with pytest.raises(BadRequestError):
        await caller.call("batch", ["Input 1", "Input 0", *PROMPTS[2:]], concurrency=2, return_exceptions=False)

    await seen(server.cancelled)
    assert len(server.requests) == 2


async def test_all_calls_have_one_limit_together(caller: Caller, server: ScriptedServer) -> None:
    server.block_after = 0

    run = await caller.call("batch", PROMPTS, concurrency=4, timeout=0.3)

    assert [type(result) for result in run] == [APITimeoutError] * 20
    assert len(server.requests) < 20


async def test_a_generator_is_read_as_calls_end(caller: Caller, server: ScriptedServer) -> None:
    read: list[str] = []

    def endless() -> Iterator[str]:
        for prompt in PROMPTS:
            read.append(prompt)
            yield prompt

    server.block_after = 0
    calling = asyncio.create_task(caller.call("batch", endless(), concurrency=2))
    await seen(server.blocked)
    while len(server.requests) < 2:  # noqa: ASYNC110  # counts are no events
        await asyncio.sleep(0.001)

    assert read == PROMPTS[:2]
    server.release.set()
    assert len(await calling) == 20


async def test_a_generator_that_fails_ends_the_calls_that_run(caller: Caller, server: ScriptedServer) -> None:
    server.block_prompt = "Once"

    def broken() -> Iterator[str]:
        yield "Once"
        raise LookupError("the file ends here")

    with pytest.raises(LookupError, match="the file ends here"):
        await caller.call("batch", broken(), concurrency=2)

    while server.active:  # noqa: ASYNC110  # counts are no events
        await asyncio.sleep(0.001)


async def test_a_wrong_input_is_named(caller: Caller) -> None:
    with pytest.raises(ArgumentTypeError, match=r"inputs\[1\] must be"):
        await caller.call("batch", ["Once", 3])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"concurrency": 0}, "concurrency is 0; it must be 1 to 1024"),
        ({"concurrency": 1025}, "concurrency is 1025; it must be 1 to 1024"),
        ({"idempotency_key": "k"}, "idempotency_key cannot go with several inputs"),
        ({"prompt": "x"}, "unexpected keyword argument 'prompt'"),
        ({"messages": []}, "unexpected keyword argument 'messages': the inputs hold it"),
        ({"return_exceptions": "no"}, "return_exceptions must be a bool"),
    ],
)
async def test_wrong_options_are_named_before_anything_is_sent(
    caller: Caller, server: ScriptedServer, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((ArgumentValueError, TypeError), match=sentence):
        await caller.call("batch", PROMPTS, **options)

    assert not server.requests


async def test_no_inputs_have_no_results(caller: Caller) -> None:
    run = await caller.call("batch", [])

    assert (list(run), run.replies) == ([], [])


async def test_results_can_be_taken_as_they_come(caller: Caller, server: ScriptedServer) -> None:
    server.block_prompt = "slow"

    index, result = await first_completed(caller, ["slow", "quick", "quicker"], concurrency=2)

    assert index == 1
    assert isinstance(result, Reply)
    await seen(server.cancelled)  # leaving the loop has ended the slow one


async def first_completed(caller: Caller, inputs: list[str], **options: Any) -> tuple[int, Reply | APIError]:
    if isinstance(caller, BlockingCaller):
        return await in_thread(lambda: leave(caller, inputs, options))
    results = caller.client.batch_as_completed(inputs, **options)
    async for result in results:
        await results.aclose()
        return result
    raise AssertionError("no result")


def leave(caller: BlockingCaller, inputs: list[str], options: dict[str, Any]) -> tuple[int, Reply | APIError]:
    for result in caller.client.batch_as_completed(inputs, **options):
        return result
    raise AssertionError("no result")


async def test_answers_that_are_in_the_cache_are_not_asked_for(make_caller: MakeCaller, server: ScriptedServer) -> None:
    caller = make_caller(server.target, cache=Cache())
    await caller.call("batch", PROMPTS, seed=1)

    run = await caller.call("batch", PROMPTS, seed=1)

    assert len(server.requests) == 20
    assert all(reply.cached for reply in run.replies)


async def test_progress_is_drawn_on_stderr(caller: Caller, capfd: pytest.CaptureFixture[str]) -> None:
    run = await caller.call("batch", PROMPTS, progress=True)

    captured = capfd.readouterr()
    assert "20/20" in captured.err
    assert not captured.out
    assert len(run) == 20


async def test_progress_without_rich_names_the_extra(
    caller: Caller, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)

    with pytest.raises(ImportError, match=r"progress=True needs rich: pip install 'penstock\[cli\]'"):
        await caller.call("batch", PROMPTS, progress=True)

    assert not server.requests
