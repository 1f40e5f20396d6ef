"""What a caller of either flavour gets back."""

import asyncio

import pytest

from penstock import APIConnectionError, APITimeoutError, InternalServerError, NotFoundError, RequestCancelled
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import Caller, MakeCaller
from tests.client.scripted_server import ScriptedServer


async def test_generate_returns_the_whole_answer(caller: Caller, server: ScriptedServer) -> None:
    server.finish = pb.Finish(reason=pb.FINISH_REASON_STOP, stop_text="!")

    reply = await caller.generate("Once", max_tokens=5, request_id="job-7")

    assert reply.text == "Hello wörld"
    assert list(reply.token_ids) == [7, 8]
    assert (reply.finish_reason, reply.stop_match) == ("stop", "!")
    assert (reply.id, reply.model, reply.request_id) == ("gen-1", "tiny", "job-7")
    assert reply.usage.prompt_tokens == 3
    assert reply.timings.time_to_first_token_ms == 1.5
    assert server.requests[0].stopping.max_tokens == 5


async def test_a_stream_gives_the_answer_piece_by_piece(caller: Caller) -> None:
    stream = caller.stream("Once", request_id="job-8")

    chunks = await stream.all()

    assert [chunk.text for chunk in chunks] == ["Hello", " wörld"]
    assert [chunk.seq for chunk in chunks] == [0, 1]
    assert [chunk.finish_reason for chunk in chunks] == [None, "stop"]
    assert [list(chunk.token_ids) for chunk in chunks] == [[0], [1]]
    assert stream.text == "Hello wörld"


async def test_a_streams_reply_is_what_generate_would_have_returned(caller: Caller) -> None:
    stream = caller.stream("Once", request_id="job-9")
    await stream.read()

    reply = await stream.reply()

    whole = await caller.generate("Once", request_id="job-9")
    assert (reply.text, reply.finish_reason, reply.id) == (whole.text, whole.finish_reason, whole.id)
    assert (reply.model, reply.usage, reply.timings) == (whole.model, whole.usage, whole.timings)
    assert reply.request_id == "job-9"


async def test_a_refused_connection_is_told_at_once(make_caller: MakeCaller) -> None:
    caller = make_caller("127.0.0.1:1")

    with pytest.raises(APIConnectionError) as caught:
        await asyncio.wait_for(caller.generate("Once", timeout=30), 5)

    assert caught.value.http_status == 503
    assert not isinstance(caught.value, APITimeoutError)


async def test_the_deadline_reaches_the_server_and_ends_the_call(caller: Caller, server: ScriptedServer) -> None:
    server.block_after = 0

    with pytest.raises(APITimeoutError) as caught:
        await caller.generate("Once", timeout=0.2, request_id="slow")

    assert caught.value.request_id == "slow"
    assert server.seconds_left[0] is not None
    assert server.seconds_left[0] < 1
    await asyncio.wait_for(server.cancelled.wait(), 5)


async def test_a_deadline_that_has_passed_fails_at_once(caller: Caller) -> None:
    with pytest.raises(APITimeoutError):
        await caller.generate("Once", timeout=-1)


async def test_a_calls_timeout_replaces_the_clients(make_caller: MakeCaller, server: ScriptedServer) -> None:
    caller = make_caller(server.target, timeout=100)

    await caller.generate("Once")
    await caller.generate("Once", timeout=50)
    await caller.generate("Once", timeout=None)

    first, second, third = server.seconds_left
    assert first is not None
    assert second is not None
    assert 60 < first < 110
    assert 10 < second < 60
    assert third is None


async def test_metadata_arrives_untouched_and_replaces_the_clients(
    make_caller: MakeCaller, server: ScriptedServer
) -> None:
    caller = make_caller(server.target, metadata={"tenant": "a", "x-kept": "1"})
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    await caller.generate("Once", metadata=[("traceparent", trace), ("tenant", "b")])
    await caller.stream("Once", metadata={"k-bin": b"\x00\xff"}).all()

    assert server.metadata[0]["traceparent"] == trace
    assert server.metadata[0]["tenant"] == "b"
    assert server.metadata[0]["x-kept"] == "1"
    assert server.metadata[1]["k-bin"] == b"\x00\xff"
    assert str(server.metadata[0]["user-agent"]).startswith("penstock-python/")


async def test_a_prompt_over_grpcs_default_limit_passes(caller: Caller, server: ScriptedServer) -> None:
    with pytest.raises(Exception, match="larger than max"):  # the scripted server keeps gRPC's 4 MiB; we send more
        await caller.generate("x" * (5 << 20))


async def test_models_are_listed_and_found_by_alias(caller: Caller) -> None:
    models = await caller.models()

    assert [model.id for model in models] == ["tiny"]
    assert models.data[0].context_length == 1024
    assert (await caller.model("prod")).id == "tiny"


async def test_an_unknown_model_is_a_not_found_error(caller: Caller) -> None:
    with pytest.raises(NotFoundError) as caught:
        await caller.model("nope")

    assert caught.value.code == "model_not_found"


async def test_health_is_the_servers_word(caller: Caller, server: ScriptedServer) -> None:
    assert await caller.health() == "SERVING"

    await server.set_health("NOT_SERVING")

    assert await caller.health() == "NOT_SERVING"
    with pytest.raises(NotFoundError):
        await caller.health("no.such.Service")


async def test_closing_twice_is_fine_and_a_closed_client_refuses_calls(caller: Caller) -> None:
    await caller.generate("Once")

    await caller.close()
    await caller.close()

    with pytest.raises(RuntimeError, match="closed"):
        await caller.generate("Once")


async def test_closing_the_client_ends_an_open_call(caller: Caller, server: ScriptedServer) -> None:
    server.block_after = 0
    call = asyncio.create_task(caller.generate("Once"))
    await server.blocked.wait()

    await caller.close()

    with pytest.raises(RequestCancelled):
        await call
    await asyncio.wait_for(server.cancelled.wait(), 5)


@pytest.mark.parametrize("stream", [False, True])
async def test_arguments_are_checked_before_anything_is_sent(
    caller: Caller, server: ScriptedServer, stream: bool
) -> None:
    with pytest.raises(TypeError, match="tempreture"):
        await (caller.stream("Once", tempreture=1).all() if stream else caller.generate("Once", tempreture=1))
    with pytest.raises(TypeError, match="timeout"):
        await (caller.stream("Once", timeout="5").all() if stream else caller.generate("Once", timeout="5"))

    assert not server.requests


async def test_a_stream_without_its_end_is_an_error(caller: Caller, server: ScriptedServer) -> None:
    server.without_end = True

    with pytest.raises(Exception, match="without a finish reason") as caught:
        await caller.stream("Once").all()

    assert isinstance(getattr(caught.value, "cause", None), InternalServerError)
