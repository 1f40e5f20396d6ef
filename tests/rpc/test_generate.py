"""What Generate and StreamGenerate promise of a reply, on the simulated engine."""

import asyncio

from google.protobuf import text_format

from penstock.v1 import generation_pb2 as pb
from tests.conftest import OpenService, Running
from tests.rpc.generation_status import in_phase


def request(**fields: object) -> pb.GenerateRequest:
    stopping = {"max_tokens": 24, "ignore_eos": True}
    return pb.GenerateRequest(**{"prompt": "Hello", "stopping": stopping, "response": {"token_ids": True}, **fields})


async def chunks_of(running: Running, sent: pb.GenerateRequest) -> list[pb.GenerateChunk]:
    return [chunk async for chunk in running.generation.StreamGenerate(sent)]


async def test_a_stream_numbers_its_chunks_names_itself_first_and_counts_last(simulated: Running) -> None:
    chunks = await chunks_of(simulated, request(request_id="order-7"))

    first, *middle, last = chunks
    assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
    assert (first.model, first.request_id, len(first.id)) == ("builtin", "order-7", 32)
    assert all(not (chunk.id or chunk.model or chunk.request_id) for chunk in [*middle, last])
    assert all(not chunk.HasField("usage") and not chunk.deltas[0].HasField("finish") for chunk in [first, *middle])
    assert last.usage.prompt_tokens == 2
    assert last.usage.completion_tokens == 24
    assert last.deltas[0].finish.reason == pb.FINISH_REASON_LENGTH


async def test_the_deltas_of_a_stream_add_up_to_the_unary_reply(simulated: Running) -> None:
    chunks = await chunks_of(simulated, request())
    reply = await simulated.generation.Generate(request())

    assert "".join(chunk.deltas[0].text for chunk in chunks) == reply.sequences[0].text
    assert [token for chunk in chunks for token in chunk.deltas[0].token_ids] == list(reply.sequences[0].token_ids)
    assert len(chunks) > 1


async def test_timings_are_ordered_and_present_on_both_calls(simulated: Running) -> None:
    reply = await simulated.generation.Generate(request())
    last = (await chunks_of(simulated, request()))[-1]

    for timings in (reply.timings, last.timings):
        assert 0 <= timings.queue_time_ms <= timings.time_to_first_token_ms <= timings.generation_time_ms
        assert timings.mean_itl_ms > 0
        assert timings.tokens_per_second > 0


async def test_each_kind_of_input_is_answered_and_counted(simulated: Running) -> None:
    turns = [pb.Message(role=pb.ROLE_USER, content=[pb.ContentPart(text="How are you?")])]
    inputs = [
        ({"prompt": "How are you?"}, 4),
        ({"prompt": None, "token_ids": pb.TokenIds(ids=[1, 2, 3])}, 3),
        ({"prompt": None, "conversation": pb.Conversation(messages=turns)}, 4),
    ]

    for given, tokens in inputs:
        reply = await simulated.generation.Generate(request(**given))

        assert reply.usage.prompt_tokens == tokens
        assert reply.sequences[0].text


async def test_only_what_is_asked_for_is_returned(simulated: Running) -> None:
    default = await simulated.generation.Generate(request(response=None))
    without_text = await simulated.generation.Generate(request(response={"text": False, "token_ids": True}))

    assert default.sequences[0].text
    assert not default.sequences[0].token_ids
    assert not without_text.sequences[0].text
    assert len(without_text.sequences[0].token_ids) == 24


async def test_every_finish_reason_says_what_ended_the_sequence(open_service: OpenService) -> None:
    running = await open_service(simulated={"context_length": 20})
    words = (await running.generation.Generate(request(stopping={"max_tokens": 8}))).sequences[0]
    third_word = words.text.split()[2]
    cases = {
        "reason: FINISH_REASON_LENGTH": {"max_tokens": 5},
        "reason: FINISH_REASON_CONTEXT_LENGTH": {},
        f'reason: FINISH_REASON_STOP stop_text: "{third_word}"': {"stop": [third_word]},
        f"reason: FINISH_REASON_STOP stop_token_id: {words.token_ids[1]}": {"stop_token_ids": [words.token_ids[1]]},
    }

    for expected, stopping in cases.items():
        reply = await running.generation.Generate(request(stopping=stopping))

        assert text_format.MessageToString(reply.sequences[0].finish, as_one_line=True) == expected


async def test_a_stop_text_is_cut_off_unless_asked_for_and_never_shown_in_part(simulated: Running) -> None:
    whole = (await simulated.generation.Generate(request())).sequences[0].text
    stop = whole[30:39]
    before = whole[: whole.index(stop)]

    streamed = "".join(chunk.deltas[0].text for chunk in await chunks_of(simulated, request(stopping={"stop": [stop]})))
    kept = await simulated.generation.Generate(request(stopping={"stop": [stop], "include_stop": True}))

    assert streamed == before
    assert kept.sequences[0].text == before + stop


async def test_unary_and_stream_agree_when_a_stop_text_comes_before_min_tokens(simulated: Running) -> None:
    early = (await simulated.generation.Generate(request())).sequences[0].text.split()[1]
    stopping = {"max_tokens": 30, "min_tokens": 20, "ignore_eos": True, "stop": [early]}

    reply = await simulated.generation.Generate(request(stopping=stopping))
    chunks = await chunks_of(simulated, request(stopping=stopping))

    assert reply.usage.completion_tokens == 30
    assert "".join(chunk.deltas[0].text for chunk in chunks) == reply.sequences[0].text


async def test_a_model_is_found_by_its_name_or_by_none(open_service: OpenService) -> None:
    running = await open_service(served_model_name="acme/writer-1")

    for name in ("", "acme/writer-1"):
        assert (await running.generation.Generate(request(model=name))).model == "acme/writer-1"


async def test_more_sequences_than_a_step_holds_wait_their_turn_and_all_complete(open_service: OpenService) -> None:
    running = await open_service(simulated={"max_concurrent_sequences": 2})
    calls = [running.generation.Generate(request(prompt=f"number {number}")) for number in range(6)]

    replies = [await call for call in calls]

    assert all(reply.usage.completion_tokens == 24 for reply in replies)
    assert max(reply.timings.queue_time_ms for reply in replies) > min(
        reply.timings.generation_time_ms for reply in replies
    )


async def test_the_same_seed_gives_the_same_text_and_another_seed_another(simulated: Running) -> None:
    def seeded(seed: int) -> pb.GenerateRequest:
        return request(sampling={"seed": seed})

    texts = [(await simulated.generation.Generate(seeded(seed))).sequences[0].text for seed in (1, 1, 2)]

    assert texts[0] == texts[1] != texts[2]


async def test_waiting_requests_have_their_turns_by_priority_and_equal_ones_in_order(open_service: OpenService) -> None:
    running = await open_service(simulated={"max_concurrent_sequences": 1, "step_time_ms": 5})
    first = running.generation.StreamGenerate(request(stopping={"max_tokens": 400, "ignore_eos": True}))
    await first.read()
    order: list[int] = []

    async def call(number: int, priority: int) -> None:
        await running.generation.Generate(request(priority=priority, request_id=str(number)))
        order.append(number)

    calls = []
    for number, priority in enumerate((-2, -2, 5, 0, 5, -1)):  # the first two are handed to the engine at once
        calls.append(asyncio.create_task(call(number, priority)))
        await in_phase(running, pb.GENERATION_PHASE_QUEUED, request_id=str(number))
    await asyncio.gather(*calls)

    assert order == [0, 1, 5, 3, 2, 4]
