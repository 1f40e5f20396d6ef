"""A client with a cache asks once for what has the same answer, says which answers are old, and never mixes models."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from penstock import APITimeoutError, BadRequestError, Cache, Reply, RequestCancelled, StreamInterrupted, Timeout
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.events import CacheHit
from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from tests.client.conftest import AsyncioCaller, Caller, MakeCaller
from tests.client.scripted_server import ScriptedServer
from tests.conftest import eventually

CHAT = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def caching(make_caller: MakeCaller, server: ScriptedServer, cache: Cache) -> Caller:
    return make_caller(server.target, cache=cache)


async def test_a_repeatable_call_is_made_once(caching: Caller, server: ScriptedServer) -> None:
    first = await caching.generate("Once", temperature=0, request_id="a")
    second = await caching.generate("Once", temperature=0, request_id="b")

    assert len(server.requests) == 1
    assert (first.cached, second.cached) == (False, True)
    assert (second.text, second.id, second.request_id) == (first.text, first.id, "b")
    assert second.usage == first.usage


async def test_a_call_that_draws_at_random_is_made_each_time(caching: Caller, server: ScriptedServer) -> None:
    for _ in range(2):
        assert not (await caching.generate("Once", temperature=1)).cached

    assert len(server.requests) == 2
    assert not server.models_asked


async def test_it_can_be_asked_for_explicitly(caching: Caller, server: ScriptedServer) -> None:
    await caching.generate("Once", cache="use")

    assert (await caching.generate("Once", cache="use")).cached
    assert not (await caching.generate("Once")).cached
    assert len(server.requests) == 2


async def test_off_neither_looks_nor_keeps(caching: Caller, server: ScriptedServer) -> None:
    await caching.generate("Once", seed=1, cache="off")
    await caching.generate("Once", seed=1)

    assert not (await caching.generate("Once", seed=1, cache="off")).cached
    assert (await caching.generate("Once", seed=1)).cached
    assert len(server.requests) == 3


async def test_refresh_asks_again_and_keeps_the_new_answer(caching: Caller, server: ScriptedServer) -> None:
    await caching.generate("Once", seed=1)
    server.texts = ["Newer"]

    assert not (await caching.generate("Once", seed=1, cache="refresh")).cached
    latest = await caching.generate("Once", seed=1)

    assert (latest.text, latest.cached) == ("Newer", True)


async def test_all_calls_of_a_client_can_have_it_off(
    make_caller: MakeCaller, server: ScriptedServer, cache: Cache
) -> None:
    caller = make_caller(server.target, cache=cache)
    await caller.generate("Once", seed=1)

    caller.client = caller.client.with_options(cache="off")  # type: ignore[assignment]

    assert not (await caller.generate("Once", seed=1)).cached
    assert (await caller.generate("Once", seed=1, cache="use")).cached


@pytest.mark.parametrize("use", ["use", "refresh"])
async def test_asking_for_a_cache_that_is_not_there_is_an_error(
    caller: Caller, server: ScriptedServer, use: str
) -> None:
    with pytest.raises(ArgumentValueError, match=f"cache is '{use}', but the client has none"):
        await caller.generate("Once", cache=use)

    await caller.generate("Once", cache="off")
    assert len(server.requests) == 1


async def test_a_cache_is_a_cache(make_caller: MakeCaller, server: ScriptedServer) -> None:
    with pytest.raises(ArgumentTypeError, match="cache must be a Cache, not dict"):
        make_caller(server.target, cache={})


@pytest.mark.parametrize(
    "reason", [pb.FINISH_REASON_LENGTH, pb.FINISH_REASON_CONTEXT_LENGTH, pb.FINISH_REASON_DEADLINE]
)
async def test_what_was_cut_off_is_not_kept(
    caching: Caller, server: ScriptedServer, cache: Cache, reason: "pb.FinishReason.ValueType"
) -> None:
    server.finish = pb.Finish(reason=reason)

    await caching.generate("Once", seed=1)

    assert not (await caching.generate("Once", seed=1)).cached
    assert len(cache) == 0


async def test_errors_are_not_kept(caching: Caller, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    with pytest.raises(BadRequestError):
        await caching.generate("Once", seed=1)
    server.failure = None

    assert not (await caching.generate("Once", seed=1)).cached


async def test_a_reply_can_be_changed_without_changing_the_next(caching: Caller) -> None:
    first = await caching.generate("Once", seed=1)
    first.proto.sequences[0].text = "changed"
    second = await caching.generate("Once", seed=1)
    second.proto.sequences[0].text = "changed too"

    assert (await caching.generate("Once", seed=1)).text == "Hello wörld"


async def test_the_facade_has_it_too(caching: Caller, server: ScriptedServer) -> None:
    for _ in range(2):
        answer = await caching.chat(model="tiny", messages=CHAT, temperature=0)

    assert answer.choices[0].message.content == "Hello wörld"
    assert len(server.requests) == 1


async def test_a_batch_in_one_call_is_not_cached(caching: Caller, server: ScriptedServer) -> None:
    server.answers["Generate"] = pb.GenerateResponse(results=[pb.BatchResult()])

    for _ in range(2):
        await caching.call("generate_batch", ["Once"], seed=1)

    assert len(server.requests) == 2


class TestModels:
    async def test_the_server_is_asked_which_model_it_is_once_in_a_while(
        self, caching: Caller, server: ScriptedServer
    ) -> None:
        for number in range(5):
            await caching.generate(f"Once {number}", model="prod", seed=1)

        assert server.models_asked == 1

    @pytest.mark.parametrize("name", [None, "tiny", "prod"])
    async def test_other_weights_have_other_answers(
        self, make_caller: MakeCaller, server: ScriptedServer, name: str | None
    ) -> None:
        caller = make_caller(server.target, cache=Cache(model_ttl=0))
        server.tiny.digest = "sha256:old"
        await caller.generate("Once", model=name, seed=1)

        server.tiny.digest = "sha256:new"
        assert not (await caller.generate("Once", model=name, seed=1)).cached
        server.tiny.digest = "sha256:old"
        assert (await caller.generate("Once", model=name, seed=1)).cached

    async def test_an_alias_that_is_switched_has_other_answers(
        self, make_caller: MakeCaller, server: ScriptedServer
    ) -> None:
        caller = make_caller(server.target, cache=Cache(model_ttl=0))
        await caller.generate("Once", model="prod", seed=1)
        adapter = models_pb2.Adapter(name="poet", version="1", digest="sha256:p")
        server.tiny.adapters.append(adapter)
        server.tiny.adapter_aliases.add(name="prod", target="poet@1")

        assert not (await caller.generate("Once", model="prod", seed=1)).cached

    async def test_an_answer_of_another_model_than_expected_is_not_kept_and_shows_the_switch(
        self, caching: Caller, server: ScriptedServer, cache: Cache
    ) -> None:
        switched = pb.GenerateResponse(model="tiny", adapter=pb.AdapterVersion(name="poet", version="1"))
        switched.sequences.add(text="Rhyme", finish=server.finish)
        server.answers["Generate"] = switched

        await caching.generate("Once", model="prod", seed=1)
        await caching.generate("Once", model="prod", seed=1)

        assert len(cache) == 0
        assert server.models_asked == 2  # the answer has shown that the first one is no longer true

    async def test_a_model_that_nobody_knows_is_the_calls_own_error(
        self, caching: Caller, server: ScriptedServer
    ) -> None:
        reply = await caching.generate("Once", model="unknown", seed=1)  # the script answers to any name

        assert not reply.cached
        assert len(server.requests) == 1

    async def test_clients_of_the_same_model_can_share_a_cache(
        self, make_caller: MakeCaller, server: ScriptedServer, cache: Cache
    ) -> None:
        await make_caller(server.target, cache=cache).generate("Once", seed=1)

        assert (await make_caller(server.target, cache=cache).generate("Once", seed=1)).cached

    async def test_calls_on_behalf_of_others_do_not_share_answers(
        self, caching: Caller, server: ScriptedServer
    ) -> None:
        for metadata in ({"x-tenant": "a"}, {"x-tenant": "b"}):
            assert not (await caching.generate("Once", seed=1, metadata=metadata)).cached
        trace = {"x-tenant": "a", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        assert (await caching.generate("Once", seed=1, metadata=trace)).cached
        for salt in ("a", "b"):
            assert not (await caching.generate("Once", seed=1, cache_salt=salt)).cached


class TestStreams:
    async def test_a_hit_is_one_chunk_that_says_so(self, caching: Caller, server: ScriptedServer) -> None:
        first = await caching.stream("Once", seed=1).all()
        stream = caching.stream("Once", seed=1, request_id="second")
        second = await stream.all()

        assert [chunk.cached for chunk in first] == [False, False]
        assert [(chunk.seq, chunk.text, chunk.finish_reason, chunk.cached) for chunk in second] == [
            (0, "Hello wörld", "stop", True)
        ]
        reply = await stream.reply()
        assert (reply.text, reply.cached, reply.request_id) == ("Hello wörld", True, "second")
        assert list(reply.token_ids) == [0, 1]
        assert len(server.requests) == 1

    async def test_streams_and_whole_answers_share_the_cache(self, caching: Caller, server: ScriptedServer) -> None:
        await caching.generate("Once", seed=1)
        (chunk,) = await caching.stream("Once", seed=1).all()
        assert chunk.cached

        await caching.stream("Twice", seed=1).all()
        assert (await caching.generate("Twice", seed=1)).cached
        assert len(server.requests) == 2

    async def test_the_server_is_asked_for_the_model_before_a_late_stream_too(
        self, make_caller: MakeCaller, server: ScriptedServer
    ) -> None:
        caller = make_caller(server.target, cache=Cache(model_ttl=0))
        await caller.stream("Once", seed=1).all()

        assert [chunk.cached for chunk in await caller.stream("Once", seed=1).all()] == [True]
        server.tiny.digest = "sha256:other"
        assert not any(chunk.cached for chunk in await caller.stream("Once", seed=1).all())

    async def test_a_stream_that_is_left_early_is_not_kept(self, caching: Caller, server: ScriptedServer) -> None:
        server.block_after = 1
        await caching.stream("Once", seed=1).first_of_with()
        await seen(server.cancelled)
        server.release.set()

        assert not (await caching.generate("Once", seed=1)).cached

    async def test_a_stream_that_breaks_is_not_kept(self, caching: Caller, server: ScriptedServer) -> None:
        server.refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", after=1)
        with pytest.raises(StreamInterrupted):
            await caching.stream("Once", seed=1).all()
        server.failure = None

        assert not (await caching.generate("Once", seed=1)).cached

    async def test_a_refusal_is_the_streams_own(self, caching: Caller, server: ScriptedServer) -> None:
        server.refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")

        with pytest.raises(BadRequestError):
            await caching.stream("Once", seed=1).all()

    async def test_off_and_refresh(self, caching: Caller, server: ScriptedServer) -> None:
        await caching.stream("Once", seed=1, cache="off").all()
        assert not any(chunk.cached for chunk in await caching.stream("Once", seed=1, cache="refresh").all())
        assert [chunk.cached for chunk in await caching.stream("Once", seed=1).all()] == [True]
        assert len(server.requests) == 2

    async def test_a_hit_that_is_not_read_is_no_call(self, caching: Caller, server: ScriptedServer) -> None:
        await caching.generate("Once", seed=1)
        stream = caching.stream("Once", seed=1)
        await stream.close()

        with pytest.raises(RequestCancelled):
            await stream.reply()
        assert len(server.requests) == 1

    async def test_a_hit_that_the_server_had_to_be_asked_for_is_no_call_either(
        self, make_caller: MakeCaller, server: ScriptedServer
    ) -> None:
        caller = make_caller(server.target, cache=Cache(model_ttl=0))
        for _ in range(2):
            await caller.stream("Once", seed=1).all()

        (streams,) = (calls for calls in caller.client.stats().calls if calls.method == "StreamGenerate")
        assert (streams.ended, streams.cache_hits, streams.in_flight, streams.completion_tokens) == (1, 1, 0, 2)

    async def test_a_stream_is_kept_as_a_task_once_it_is_a_call(
        self, make_caller: MakeCaller, server: ScriptedServer, tmp_path: Path
    ) -> None:
        caller = make_caller(server.target, cache=Cache(model_ttl=0), state=tmp_path / "state", resume=True)
        caller.stream("Once", seed=1)  # and nobody reads it
        gc.collect()
        assert await caller.call("tasks.list") == []

        server.block_after = 1
        stream = caller.stream("Once", seed=1)
        await stream.read()
        assert [task.state for task in await caller.call("tasks.list")] == ["running"]

        server.release.set()
        assert (await stream.reply()).text == "Hello wörld"
        assert await caller.call("tasks.list") == []


class TestAServerThatDoesNotSayWhichModelItIs:
    @pytest.fixture(autouse=True)
    def _silent(self, server: ScriptedServer) -> None:
        server.models_told.clear()

    async def test_it_holds_a_stream_up_no_longer_than_a_first_token_may(
        self, caching: Caller, server: ScriptedServer
    ) -> None:
        stream = caching.stream("Once", seed=1, timeout=Timeout(first_token=0.2))

        chunks = await asyncio.wait_for(stream.all(), 5)

        assert [chunk.cached for chunk in chunks] == [False, False]
        assert len(server.requests) == 1

    async def test_a_stream_can_be_closed_while_it_is_asked(self, caching: Caller, server: ScriptedServer) -> None:
        stream = caching.stream("Once", seed=1)
        reading = asyncio.create_task(stream.read())
        await eventually(lambda: server.models_asked == 1, "the question")

        await stream.close()

        (outcome,) = await asyncio.gather(asyncio.wait_for(reading, 2), return_exceptions=True)
        assert isinstance(outcome, RequestCancelled)
        assert not server.requests

    async def test_a_stream_that_is_dropped_before_it_has_said_so_is_no_call(
        self, caching: Caller, server: ScriptedServer
    ) -> None:
        stream = caching.stream("Once", seed=1)
        assert "StreamGenerate" not in methods_of(caching)

        del stream
        gc.collect()
        server.models_told.set()
        await caching.generate("Once", seed=1)

        assert "StreamGenerate" not in methods_of(caching)
        assert len(server.requests) == 1


class TestIdenticalCallsAtTheSameTime:
    @pytest.fixture(autouse=True)
    def _blocked(self, server: ScriptedServer) -> None:
        server.block_after = 0

    async def test_they_share_one(self, caching: Caller, server: ScriptedServer) -> None:
        calls = [start(caching, request_id=f"call-{number}") for number in range(5)]
        await waiting(caching, 5)
        server.release.set()

        replies = await asyncio.gather(*calls)

        assert len(server.requests) == 1
        assert [reply.request_id for reply in replies] == [f"call-{number}" for number in range(5)]
        assert sorted(reply.cached for reply in replies) == [False, True, True, True, True]

    async def test_they_share_its_error(self, caching: Caller, server: ScriptedServer) -> None:
        server.refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        server.crowd = 99  # the refusal waits until it is told that they are enough
        calls = [start(caching) for _ in range(3)]
        await waiting(caching, 3)
        server.crowded.set()

        errors = await asyncio.gather(*calls, return_exceptions=True)

        assert len(server.requests) == 1
        assert [type(error) for error in errors] == [BadRequestError] * 3
        assert len({id(error) for error in errors}) == 3

    async def test_one_that_runs_out_of_time_leaves_the_others_to_it(
        self, caching: Caller, server: ScriptedServer
    ) -> None:
        leader = start(caching)
        await seen(server.blocked)

        with pytest.raises(APITimeoutError):
            await caching.generate("Once", seed=1, timeout=0.05)
        server.release.set()

        assert (await leader).text == "Hello wörld"
        assert (len(server.requests), server.cancellations) == (1, 0)

    async def test_the_others_go_on_without_the_first_when_its_time_is_over(
        self, caching: Caller, server: ScriptedServer
    ) -> None:
        leader = start(caching, timeout=2)
        await seen(server.blocked)
        others = [start(caching) for _ in range(2)]
        await waiting(caching, 3)

        with pytest.raises(APITimeoutError):
            await leader
        server.release.set()

        assert {reply.text for reply in await asyncio.gather(*others)} == {"Hello wörld"}
        assert len(server.requests) == 2

    async def test_what_draws_at_random_is_not_shared(self, caching: Caller, server: ScriptedServer) -> None:
        server.crowd = 2
        calls = [asyncio.create_task(caching.generate("Once", temperature=1)) for _ in range(2)]
        await seen(server.crowded)
        server.release.set()

        assert not any(reply.cached for reply in await asyncio.gather(*calls))

    @pytest.mark.parametrize(
        ("first", "second"),
        [("return_partial", "return_partial"), ("return_partial", "fail"), ("fail", "return_partial")],
    )
    async def test_what_its_own_deadline_may_cut_short_is_not_shared(
        self, caching: Caller, server: ScriptedServer, first: str, second: str
    ) -> None:
        server.crowd = 2
        calls = [start(caching, on_deadline=each, timeout=60) for each in (first, second)]
        await seen(server.crowded)
        server.release.set()

        assert not any(reply.cached for reply in await asyncio.gather(*calls))


class TestCancelledTasks:
    @pytest.fixture
    async def client(self, server: ScriptedServer, cache: Cache) -> AsyncIterator[AsyncioCaller]:
        server.block_after = 0
        caller = AsyncioCaller(server.target, cache=cache)
        yield caller
        await caller.close()

    @pytest.mark.parametrize("leaving", [0, 1])
    async def test_a_cancelled_caller_ends_only_itself(
        self, client: AsyncioCaller, server: ScriptedServer, leaving: int
    ) -> None:
        calls = [start(client) for _ in range(2)]
        await seen(server.blocked)
        await waiting(client, 2)

        calls.pop(leaving).cancel()
        await waiting(client, 1)
        server.release.set()

        assert (await calls[0]).text == "Hello wörld"
        assert (len(server.requests), server.cancellations) == (1, 0)

    async def test_the_call_ends_when_the_last_caller_has_left(
        self, client: AsyncioCaller, server: ScriptedServer
    ) -> None:
        calls = [start(client) for _ in range(3)]
        await seen(server.blocked)
        await waiting(client, 3)

        for call in calls:
            call.cancel()

        await seen(server.cancelled)
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*calls, return_exceptions=True)
        )
        server.release.set()
        assert not (await client.generate("Once", seed=1)).cached


async def test_hits_and_shared_calls_are_events(caching: Caller, server: ScriptedServer) -> None:
    hits: list[CacheHit] = []
    caching.client.on("cache_hit", hits.append)
    server.block_after = 0
    calls = [start(caching, model="tiny") for _ in range(2)]
    await waiting(caching, 2)
    server.release.set()
    await asyncio.gather(*calls)

    await caching.generate("Once", model="tiny", seed=1)

    assert [(hit.method, hit.model, hit.shared) for hit in hits] == [
        ("Generate", "tiny", True),
        ("Generate", "tiny", False),
    ]


def start(caller: Caller, **options: Any) -> asyncio.Task[Reply]:
    return asyncio.create_task(caller.generate("Once", seed=1, **options))


def methods_of(caller: Caller) -> set[str]:
    """What the caller's statistics know calls of."""
    return {calls.method for calls in caller.client.stats().calls}


async def seen(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 5)


async def waiting(caller: Caller, count: int) -> None:
    """Until so many callers wait for a shared call: nothing tells them from outside."""
    flights = caller.client._transport._flights  # type: ignore[attr-defined]
    while flights.waiting != count:  # noqa: ASYNC110  # it is no event
        await asyncio.sleep(0.001)
