"""Hooks and statistics of a client, over real calls."""

from __future__ import annotations

import gc
import logging
from typing import Any

import grpc
import pytest

from penstock import APIError, RequestCancelled
from penstock.events import CallEnded, CallStarted
from penstock.stats import CallStats, Stats
from tests.client.conftest import Caller, MakeCaller
from tests.client.scripted_server import ScriptedServer
from tests.conftest import eventually


def stats_of(caller: Caller) -> Stats:
    return caller.client.stats()


def only(caller: Caller) -> CallStats:
    (calls,) = stats_of(caller).calls
    return calls


async def test_a_stream_is_counted_with_its_times_and_tokens(caller: Caller, server: ScriptedServer) -> None:
    server.texts = ["a", "b", "c", "d"]

    await caller.stream("Once", model="tiny").reply()

    calls = only(caller)
    assert (calls.method, calls.model, calls.tier) == ("StreamGenerate", "tiny", None)
    assert (calls.ended, calls.ok, calls.in_flight, calls.errors) == (1, 1, 0, {})
    assert (calls.prompt_tokens, calls.completion_tokens) == (3, 2)
    assert calls.first_token is not None
    assert calls.first_token.samples == 1
    assert calls.gap is not None
    assert calls.gap.samples == 3
    assert calls.tokens_per_second is not None
    assert calls.tokens_per_second > 0


async def test_a_unary_call_is_counted_by_its_tier(make_caller: MakeCaller, server: ScriptedServer) -> None:
    caller = make_caller(server.target, tiers={"chat": 60})

    await caller.generate("Once", tier="chat")

    calls = only(caller)
    assert (calls.method, calls.tier, calls.ok, calls.first_token) == ("Generate", "chat", 1, None)
    assert calls.seconds is not None


async def test_an_open_stream_is_in_flight(caller: Caller, server: ScriptedServer) -> None:
    server.block_after = 1
    stream = caller.stream("Once")
    await stream.read()

    assert stats_of(caller).in_flight == 1
    await stream.close()

    assert stats_of(caller).in_flight == 0
    assert only(caller).errors == {"CANCELLED": 1}


async def test_a_stream_that_is_dropped_is_in_flight_no_more(caller: Caller, server: ScriptedServer) -> None:
    server.block_after = 1
    stream = caller.stream("Once")
    await stream.read()

    del stream
    gc.collect()

    await eventually(lambda: stats_of(caller).in_flight == 0, "the end of the stream")


async def test_the_servers_are_among_the_statistics(caller: Caller, server: ScriptedServer) -> None:
    server.block_after = 1
    stream = caller.stream("Once")
    await stream.read()

    (endpoint,) = stats_of(caller).endpoints
    assert (endpoint.endpoint, endpoint.in_flight, endpoint.ejected_until) == (server.target, 1, None)
    assert endpoint.channels >= 1
    await stream.close()


async def test_retries_are_heard_and_counted(caller: Caller, server: ScriptedServer) -> None:
    heard: list[Any] = []
    caller.client.on("retry", heard.append)
    server.refuse(grpc.StatusCode.UNAVAILABLE, "LOADING")

    with pytest.raises(APIError):
        await caller.generate("Once", model="tiny")

    assert [(event.attempt, event.error.reason, event.endpoint) for event in heard] == [
        (2, "LOADING", server.target),
        (3, "LOADING", server.target),
    ]
    assert (only(caller).retries, only(caller).errors) == (2, {"UNAVAILABLE": 1})


@pytest.mark.parametrize("streamed", [False, True])
async def test_each_call_starts_and_ends_once(caller: Caller, server: ScriptedServer, streamed: bool) -> None:
    heard: list[Any] = []
    caller.client.on("start", heard.append)
    caller.client.on("end", heard.append)

    await (caller.stream("Once").reply() if streamed else caller.generate("Once"))

    start, end = heard
    assert isinstance(start, CallStarted)
    assert isinstance(end, CallEnded)
    assert end.call is start
    assert (end.error, end.attempts, end.endpoint, end.response_id) == (None, 1, server.target, "gen-1")
    assert (end.finish_reasons, end.response_model) == (("stop",), "tiny")
    assert end.chunks == (2 if streamed else 0)


async def test_a_stream_that_is_left_early_ends_as_cancelled(caller: Caller, server: ScriptedServer) -> None:
    heard: list[CallEnded] = []
    caller.client.on("end", heard.append)
    server.block_after = 1

    await caller.stream("Once").first_of_with()

    (end,) = heard
    assert isinstance(end.error, RequestCancelled)
    assert end.chunks == 1


async def test_a_hook_that_raises_hurts_no_call(
    caller: Caller, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: CallStarted) -> None:
        raise ZeroDivisionError("a hook of mine")

    caller.client.on("start", broken)

    with caplog.at_level(logging.ERROR, "penstock"):
        reply = await caller.generate("Once")

    assert reply.text == "Hello wörld"
    assert "a hook of mine" in caplog.text


async def test_a_removed_hook_hears_nothing(caller: Caller) -> None:
    heard: list[CallStarted] = []
    caller.client.on("start", heard.append)
    caller.client.off("start", heard.append)

    await caller.generate("Once")

    assert heard == []


async def test_clients_of_with_options_are_looked_at_together(caller: Caller) -> None:
    heard: list[CallStarted] = []
    caller.client.on("start", heard.append)

    other = caller.client.with_options(timeout=30)
    await caller.generate("Once")

    assert other.stats().calls == caller.client.stats().calls
    assert len(heard) == 1
