"""What the service says is what vLLM says: the built-in model on a real engine."""

import asyncio
import urllib.request
import uuid
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from tests.conftest import Running, eventually
from tests.rpc.bad_requests import BAD_REQUESTS, bad_request
from tests.rpc.error_details import failure_of
from tests.rpc.session_user import SessionUser

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]

PROMPTS = ["Once upon a time", "Hello", "The river", "What is a penstock?", "Grüße aus Zürich 👋"]
GREEDY = {"temperature": 0.0}


@pytest.fixture(params=["lean", "public"])
def served(request: pytest.FixtureRequest, real: Running, real_by_public_way: Running) -> Running:
    """The service on each of its two ways to run a request in vLLM."""
    return real if request.param == "lean" else real_by_public_way


def request(prompt: str = "Once upon a time", **fields: Any) -> pb.GenerateRequest:
    stopping = {"max_tokens": 48, "ignore_eos": True}
    defaults = {"sampling": GREEDY, "stopping": stopping, "response": {"token_ids": True}}
    return pb.GenerateRequest(**{"prompt": prompt, **defaults, **fields})


async def asked_directly(llm: Any, prompt: Any, **params: Any) -> Any:
    """vLLM's own final output for `prompt`."""
    from vllm import SamplingParams

    last = None
    params = {"temperature": 0.0, "max_tokens": 48, "ignore_eos": True, **params}
    async for output in llm.generate(prompt, SamplingParams(**params), uuid.uuid4().hex):
        last = output
    return last


async def chunks_of(running: Running, sent: pb.GenerateRequest) -> list[pb.GenerateChunk]:
    return [chunk async for chunk in running.generation.StreamGenerate(sent)]


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_greedy_output_is_vllms_token_for_token_in_text_and_ids(served: Running, llm: Any, prompt: str) -> None:
    expected = await asked_directly(llm, prompt)

    reply = await served.generation.Generate(request(prompt))
    chunks = await chunks_of(served, request(prompt))

    assert list(reply.sequences[0].token_ids) == list(expected.outputs[0].token_ids)
    assert reply.sequences[0].text == expected.outputs[0].text
    assert reply.usage.prompt_tokens == len(expected.prompt_token_ids)
    assert [token for chunk in chunks for token in chunk.deltas[0].token_ids] == list(expected.outputs[0].token_ids)
    assert "".join(chunk.deltas[0].text for chunk in chunks) == expected.outputs[0].text


async def test_token_ids_are_used_as_they_are(served: Running, llm: Any) -> None:
    expected = await asked_directly(llm, {"prompt_token_ids": [5, 6, 7, 8]})

    reply = await served.generation.Generate(request(None, token_ids=pb.TokenIds(ids=[5, 6, 7, 8])))

    assert reply.usage.prompt_tokens == 4
    assert list(reply.sequences[0].token_ids) == list(expected.outputs[0].token_ids)


async def test_seeded_sampling_is_vllms(served: Running, llm: Any) -> None:
    sampling = {"temperature": 0.9, "top_p": 0.95, "top_k": 40, "min_p": 0.01, "repetition_penalty": 1.1, "seed": 11}
    expected = await asked_directly(llm, "Once upon a time", **sampling)

    reply = await served.generation.Generate(request(sampling=sampling))

    assert list(reply.sequences[0].token_ids) == list(expected.outputs[0].token_ids)


async def test_a_conversation_is_rendered_with_the_models_template(served: Running, llm: Any) -> None:
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}]
    tokenizer = llm.renderer.get_tokenizer()
    rendered = tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=True, return_dict=False)
    expected = await asked_directly(llm, {"prompt_token_ids": rendered}, ignore_eos=False)
    turns = [
        pb.Message(role=pb.ROLE_SYSTEM, content=[pb.ContentPart(text="Be brief.")]),
        pb.Message(role=pb.ROLE_USER, content=[pb.ContentPart(text="Who are you?")]),
    ]

    reply = await served.generation.Generate(
        request(None, conversation=pb.Conversation(messages=turns), stopping={"max_tokens": 48})
    )

    assert reply.usage.prompt_tokens == len(rendered)
    assert reply.sequences[0].text == expected.outputs[0].text
    assert reply.sequences[0].finish.reason == pb.FINISH_REASON_STOP


async def test_a_stop_text_ends_the_text_before_it_and_is_named(served: Running) -> None:
    whole = (await served.generation.Generate(request())).sequences[0].text
    stop = whole[20:26]

    chunks = await chunks_of(served, request(stopping={"max_tokens": 48, "stop": [stop]}))
    kept = await served.generation.Generate(request(stopping={"max_tokens": 48, "stop": [stop], "include_stop": True}))

    before = whole[: whole.index(stop)]
    assert "".join(chunk.deltas[0].text for chunk in chunks) == before
    assert chunks[-1].deltas[0].finish == pb.Finish(reason=pb.FINISH_REASON_STOP, stop_text=stop)
    assert kept.sequences[0].text == before + stop


async def test_a_stop_token_is_named(served: Running) -> None:
    tokens = (await served.generation.Generate(request())).sequences[0].token_ids

    reply = await served.generation.Generate(request(stopping={"max_tokens": 48, "stop_token_ids": [tokens[3]]}))

    expected = pb.Finish(reason=pb.FINISH_REASON_STOP, stop_token_id=tokens[3])
    assert reply.sequences[0].finish == expected


async def test_a_full_context_is_told_from_reached_max_tokens(served: Running) -> None:
    model = await served.models.GetModel(models_pb2.GetModelRequest(name="builtin"))
    nearly_full = pb.TokenIds(ids=[5] * (model.context_length - 10))

    full = await served.generation.Generate(request(None, token_ids=nearly_full))
    length = await served.generation.Generate(
        request(None, token_ids=nearly_full, stopping={"max_tokens": 4, "ignore_eos": True})
    )

    assert full.sequences[0].finish.reason == pb.FINISH_REASON_CONTEXT_LENGTH
    assert full.usage.prompt_tokens + full.usage.completion_tokens == model.context_length
    assert length.sequences[0].finish.reason == pb.FINISH_REASON_LENGTH


async def test_without_text_nothing_is_detokenized_and_the_tokens_are_the_same(served: Running) -> None:
    with_text = await served.generation.Generate(request())

    without = await served.generation.Generate(request(response={"text": False, "token_ids": True}))

    assert not without.sequences[0].text
    assert without.sequences[0].token_ids == with_text.sequences[0].token_ids


async def test_a_repeated_prompt_comes_from_the_prefix_cache_and_usage_says_so(served: Running) -> None:
    prompt = pb.TokenIds(ids=list(range(10, 410)))
    await served.generation.Generate(request(None, token_ids=prompt))

    again = await served.generation.Generate(request(None, token_ids=prompt))

    assert 0 < again.usage.cached_prompt_tokens < 400


async def test_timings_are_ordered_on_both_calls(served: Running) -> None:
    reply = await served.generation.Generate(request())
    last = (await chunks_of(served, request()))[-1]

    for timings in (reply.timings, last.timings):
        assert 0 <= timings.queue_time_ms <= timings.time_to_first_token_ms <= timings.generation_time_ms
        assert timings.mean_itl_ms > 0


async def test_64_streams_all_complete_and_interleave(served: Running) -> None:
    """Continuous batching: the streams progress together instead of one after the other."""
    order: list[int] = []
    stopping = {"max_tokens": 200, "ignore_eos": True}

    async def read(number: int) -> int:
        tokens = 0
        async for chunk in served.generation.StreamGenerate(request(f"Story number {number}", stopping=stopping)):
            tokens += len(chunk.deltas[0].token_ids)
            order.append(number)
        return tokens

    tokens = await asyncio.gather(*(read(number) for number in range(64)))

    first_end = min(len(order) - 1 - order[::-1].index(number) for number in range(64))
    assert tokens == [200] * 64
    assert set(order[:first_end]) == set(range(64)), "every stream has begun before the first one ends"


async def test_cancelled_calls_leave_the_engine_idle(served: Running) -> None:
    endless = request(stopping={"max_tokens": 900, "ignore_eos": True})
    calls = [served.generation.StreamGenerate(endless) for _ in range(8)]
    calls += [served.generation.Generate(endless) for _ in range(8)]
    for call in calls[:8]:
        await call.read()

    for call in calls:
        call.cancel()

    await eventually(lambda: served.engine.running == 0, "vLLM's front end has no request")
    reply = await served.generation.Generate(request())
    assert reply.usage.completion_tokens == 48
    running, waiting = await asyncio.to_thread(_engine_gauges, served.service.metrics_port)
    assert (running, waiting) == (0, 0), "vLLM's scheduler has no request"


def _engine_gauges(port: int | None) -> tuple[float, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
        lines = reply.read().decode().splitlines()
    names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
    first, second = (float(line.split()[-1]) for name in names for line in lines if line.startswith(name))
    return first, second


async def test_a_session_carries_what_streams_carry(served: Running) -> None:
    prompts = [f"{prompt} {number}" for number in range(4) for prompt in PROMPTS]
    alone = [(await served.generation.Generate(request(prompt))).sequences[0].text for prompt in prompts]

    async with SessionUser(served) as user:
        for number, prompt in enumerate(prompts, 1):
            await user.start(number, request(prompt))
        together = [await user.text(number) for number in range(1, len(prompts) + 1)]

    # Which calls share a step changes sums in the last bit, and with them a rare token.
    assert sum(one == other for one, other in zip(alone, together, strict=True)) >= len(prompts) - 1


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_a_partial_answer_is_the_beginning_of_the_whole_one(served: Running, method: str) -> None:
    stopping = {"max_tokens": 1000, "ignore_eos": True}
    partial = request(stopping=stopping, on_deadline=pb.ON_DEADLINE_RETURN_PARTIAL)

    call = getattr(served.generation, method)(partial, timeout=1.0)
    if method == "Generate":
        sequence, usage = (await call).sequences[0], (await call).usage
    else:
        chunks = [chunk async for chunk in call]
        text, ids = "", []
        for chunk in chunks:
            text += chunk.deltas[0].text
            ids += chunk.deltas[0].token_ids
        sequence = pb.Sequence(text=text, token_ids=ids, finish=chunks[-1].deltas[0].finish)
        usage = chunks[-1].usage

    assert sequence.finish.reason == pb.FINISH_REASON_DEADLINE
    assert 1 < usage.completion_tokens == len(sequence.token_ids) < 1000
    assert usage.prompt_tokens > 0
    longer = {"max_tokens": usage.completion_tokens, "ignore_eos": True}
    whole = await served.generation.Generate(request(stopping=longer))
    assert whole.sequences[0].text == sequence.text
    await eventually(lambda: served.engine.running == 0, "the engine is idle")


async def test_priorities_need_a_scheduler_that_knows_them(served: Running) -> None:
    failure = await failure_of(served.generation.Generate(request(priority=-1)))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")


async def test_the_deadline_ends_the_call_and_frees_the_engine(served: Running) -> None:
    call = served.generation.Generate(request(stopping={"max_tokens": 900, "ignore_eos": True}), timeout=0.3)

    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: served.engine.running == 0, "the engine is idle")


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_bad_input_is_named_before_vllm_sees_it(served: Running, name: str) -> None:
    bad, fields = bad_request(name)

    failure = await failure_of(served.generation.Generate(bad))

    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.fields == fields


@pytest.mark.parametrize(
    "given",
    [
        {"prompt": "water " * 2000},
        {"token_ids": {"ids": [5] * 1024}},
        {"conversation": {"messages": [{"role": "ROLE_USER", "content": [{"text": "water " * 2000}]}]}},
    ],
    ids=["prompt", "token ids", "conversation"],
)
async def test_a_prompt_longer_than_the_context_names_limit_and_length(served: Running, given: dict[str, Any]) -> None:
    failure = await failure_of(served.generation.Generate(pb.GenerateRequest(**given)))

    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_LENGTH")
    assert "1024" in failure.text
    assert (await served.generation.Generate(request())).usage.completion_tokens == 48


async def test_the_model_describes_itself(served: Running) -> None:
    (model,) = (await served.models.ListModels(models_pb2.ListModelsRequest())).models

    assert (model.name, model.engine, model.context_length, model.chat) == ("builtin", "vllm", 1024, True)
    assert model.vocabulary_size > 1000
    assert model.max_concurrent_sequences >= 64
    assert model == await served.models.GetModel(models_pb2.GetModelRequest(name="builtin"))
