"""A replica that is killed in mid-stream: each of its streams goes on elsewhere, or ends with exactly what it had."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from penstock import AsyncClient, Reply, Retry, StreamInterrupted
from penstock.stream import AsyncStream
from tests.rpc.server_process import SIMULATED, Server, serving

STREAMS = 64
TOKENS = 150
PACE = ["--simulated.step-time-ms", "20"]
OPTIONS = {"max_tokens": TOKENS, "ignore_eos": True, "temperature": 0, "timeout": 60}


@pytest.fixture
async def replicas() -> AsyncIterator[tuple[list[Server], list[str]]]:
    """Two replicas and their addresses."""
    async with serving(*SIMULATED, *PACE) as one, serving(*SIMULATED, *PACE) as other:
        servers = [one, other]
        ports = [(await server.line("listening"))["grpc_port"] for server in servers]
        for server in servers:
            await server.line("loaded")
        yield servers, [f"127.0.0.1:{port}" for port in ports]


async def begun(streams: list[AsyncStream]) -> list[str]:
    """What each stream has brought once its first chunks are there."""
    for stream in streams:
        while not stream.text:
            await stream.read()
    return [stream.text for stream in streams]


@pytest.mark.slow
async def test_streams_of_a_killed_replica_go_on_at_the_other(replicas: tuple[list[Server], list[str]]) -> None:
    servers, addresses = replicas
    async with AsyncClient(addresses, resume=True, retry=Retry(attempts=10, base=0.01, budget=None)) as client:
        unbroken = await client.generate("Hello", **OPTIONS)
        streams = [client.stream("Hello", **OPTIONS) for _ in range(STREAMS)]
        early = await begun(streams)

        servers[0].process.send_signal(signal.SIGKILL)
        replies = await asyncio.gather(*(stream.reply() for stream in streams))

    continued = [reply for reply in replies if reply.continued]
    assert 0 < len(continued) < STREAMS
    assert all(text and unbroken.text.startswith(text) for text in early)
    for reply, text in zip(replies, early, strict=True):
        assert reply.text.startswith(text)
        assert (reply.finish_reason, reply.usage.completion_tokens) == ("length", TOKENS)
        assert reply.usage.prompt_tokens == unbroken.usage.prompt_tokens
    assert all(reply.text == unbroken.text for reply in replies if not reply.continued)


@pytest.mark.slow
async def test_streams_that_cannot_go_on_elsewhere_have_their_exact_part(
    replicas: tuple[list[Server], list[str]],
) -> None:
    servers, addresses = replicas
    options = {**OPTIONS, "stop": ["no such text"], "return_token_ids": True}
    async with AsyncClient(addresses, resume=True, retry=Retry(attempts=10, base=0.01, budget=None)) as client:
        unbroken = await client.generate("Hello", **options)
        streams = [client.stream("Hello", **options) for _ in range(STREAMS)]
        early = await begun(streams)

        servers[0].process.send_signal(signal.SIGKILL)
        outcomes = await asyncio.gather(*(stream.reply() for stream in streams), return_exceptions=True)

    interrupted = [outcome for outcome in outcomes if isinstance(outcome, StreamInterrupted)]
    assert 0 < len(interrupted) < STREAMS
    for outcome, text in zip(outcomes, early, strict=True):
        if isinstance(outcome, StreamInterrupted):
            partial = outcome.partial
            assert partial.text.startswith(text)
            assert unbroken.text.startswith(partial.text)
            assert list(unbroken.token_ids)[: len(partial.token_ids)] == list(partial.token_ids)
            assert outcome.resume_token
        else:
            assert isinstance(outcome, Reply)
            assert outcome.text == unbroken.text
