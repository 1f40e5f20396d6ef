"""The client's sessions against the service itself, not a scripted one."""

import asyncio

import pytest

from penstock import AsyncClient, BadRequestError, Reply, StreamInterrupted
from penstock_service.engine.simulated import SimulatedEngine
from tests.client.conftest import MakeCaller
from tests.conftest import OpenService, Running, eventually


async def test_forty_streams_on_sessions_give_what_streams_of_their_own_give(
    make_caller: MakeCaller, simulated: Running
) -> None:
    caller = make_caller(simulated.address)
    options = {"max_tokens": 24, "ignore_eos": True}

    async def text(number: int) -> str:
        return (await caller.stream(f"Hello {number}", **options).reply()).text

    together = await asyncio.gather(*(text(number) for number in range(40)))

    alone = [(await caller.generate(f"Hello {number}", **options)).text for number in range(40)]
    assert together == alone


async def test_a_partial_answer_comes_before_the_deadline(make_caller: MakeCaller, open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 10})
    caller = make_caller(running.address)

    reply = await caller.stream("Hello", max_tokens=4000, timeout=0.5, on_deadline="return_partial").reply()

    assert reply.finish_reason == "deadline"
    assert reply.usage.completion_tokens > 1


async def test_streams_finish_on_a_server_that_drains(open_service: OpenService) -> None:
    running = await open_service(simulated={"step_time_ms": 20})
    async with AsyncClient(running.address, sessions="always") as client:
        streams = [client.stream(f"Hello {number}", max_tokens=30, ignore_eos=True) for number in range(8)]
        for stream in streams:
            await stream.read()

        draining = asyncio.create_task(running.service.drain(30))
        replies = [await stream.reply() for stream in streams]

        await draining
        assert [reply.usage.completion_tokens for reply in replies] == [30] * 8


async def test_a_stream_cut_by_a_dead_engine_has_its_text_and_its_usage(
    make_caller: MakeCaller, open_service: OpenService
) -> None:
    running = await open_service(simulated={"step_time_ms": 20})
    stream = make_caller(running.address).stream("Hello", max_tokens=4000, ignore_eos=True)
    await stream.read()

    assert isinstance(running.engine, SimulatedEngine)
    running.engine.kill()

    with pytest.raises(StreamInterrupted) as raised:
        await stream.all()
    assert raised.value.partial.text.startswith(" ")
    assert raised.value.partial.usage.completion_tokens >= 1


async def test_closing_a_stream_frees_its_generation(make_caller: MakeCaller, stuck: Running) -> None:
    caller = make_caller(stuck.address)
    streams = [caller.stream("Hello") for _ in range(3)]
    await eventually(lambda: stuck.engine.running == 3, "the calls run")

    for stream in streams:
        await stream.close()

    await eventually(lambda: stuck.engine.running == 0, "the engine is idle")


async def test_a_batch_gives_each_input_its_own_outcome(make_caller: MakeCaller, simulated: Running) -> None:
    caller = make_caller(simulated.address)
    messages = [{"role": "user", "content": "Hi"}]

    fine, empty, chat = await caller.call("generate_batch", ["Hello", "", messages], max_tokens=8, ignore_eos=True)

    alone = await caller.generate("Hello", max_tokens=8, ignore_eos=True)
    assert fine.text == alone.text
    assert isinstance(empty, BadRequestError)
    assert empty.violations[0].field == "batch.inputs[1].prompt"
    assert isinstance(chat, Reply)


async def test_tokens_are_counted_and_read_as_generate_has_them(make_caller: MakeCaller, simulated: Running) -> None:
    caller = make_caller(simulated.address)
    reply = await caller.generate("Hello, wörld", max_tokens=8, ignore_eos=True, return_token_ids=True)

    tokens = await caller.call("tokenize", "Hello, wörld")

    assert len(tokens.token_ids) == reply.usage.prompt_tokens
    assert await caller.call("detokenize", reply.token_ids) == reply.text


async def test_an_estimate_tells_what_generate_then_counts(make_caller: MakeCaller, simulated: Running) -> None:
    caller = make_caller(simulated.address)

    estimate = await caller.call("estimate", "Hello", max_tokens=8)
    reply = await caller.generate("Hello", max_tokens=8, ignore_eos=True)

    assert estimate.admitted
    assert estimate.prompt_tokens == reply.usage.prompt_tokens
    assert estimate.max_completion_tokens == reply.usage.completion_tokens


async def test_the_service_names_what_it_does_not_have(make_caller: MakeCaller, simulated: Running) -> None:
    with pytest.raises(BadRequestError, match="tool parser") as caught:
        await make_caller(simulated.address).generate(
            messages=[{"role": "user", "content": "Hi"}], tools=[{"name": "add"}], tool_choice="required"
        )

    assert caught.value.reason == "FEATURE_OFF"
