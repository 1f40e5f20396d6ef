"""Streams of the service itself, cut by the network and by the loss of a replica."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from penstock import Retry, StreamInterrupted
from tests.client.conftest import MakeCaller
from tests.client.cutting_proxy import CuttingProxy
from tests.conftest import OpenService, Running, eventually

TOKENS = 60
ASKED: dict[str, Any] = {"max_tokens": TOKENS, "ignore_eos": True, "max_delay_ms": 0}
QUICK = Retry(base=0.02, cap=0.1)
RECONNECT_AT_ONCE = {"grpc.initial_reconnect_backoff_ms": 20, "grpc.min_reconnect_backoff_ms": 20}

OpenProxy = Callable[..., Awaitable[CuttingProxy]]


@pytest.fixture
async def open_proxy() -> AsyncIterator[OpenProxy]:
    proxies: list[CuttingProxy] = []

    async def open_one(*arguments: Any) -> CuttingProxy:
        proxies.append(CuttingProxy(*arguments))
        await proxies[-1].start()
        return proxies[-1]

    yield open_one
    for proxy in proxies:
        await proxy.stop()


@pytest.mark.parametrize("seed", range(6))
async def test_a_stream_survives_cuts_anywhere_without_a_lost_or_doubled_token(
    make_caller: MakeCaller, simulated: Running, open_proxy: OpenProxy, seed: int
) -> None:
    whole = (await make_caller(simulated.address).generate("Hello", return_token_ids=True, **ASKED)).proto
    chance = random.Random(seed)
    proxy = await open_proxy(simulated.address, iter([chance.randrange(100, 2500) for _ in range(8)]))
    caller = make_caller(proxy.target, resume=True, retry=QUICK, channel_options=RECONNECT_AT_ONCE)

    reply = await asyncio.wait_for(caller.stream("Hello", return_token_ids=True, **ASKED).reply(), 30)

    assert proxy.cut_off
    assert list(reply.token_ids) == list(whole.sequences[0].token_ids)
    assert reply.text == whole.sequences[0].text
    assert reply.usage.completion_tokens == TOKENS
    assert reply.continued == 0


async def test_another_replica_goes_on_when_one_is_lost(
    make_caller: MakeCaller, open_service: OpenService, open_proxy: OpenProxy
) -> None:
    slow = {"step_time_ms": 5}
    replicas = [await open_service(simulated=slow) for _ in range(2)]
    proxies = [await open_proxy(replica.address) for replica in replicas]
    caller = make_caller([proxy.target for proxy in proxies], resume=True, retry=QUICK)
    stream = caller.stream("Hello", return_token_ids=True, **ASKED)
    chunks: list[Any] = [await stream.read()]
    used = next(number for number, replica in enumerate(replicas) if replica.engine.running)
    alone = make_caller(replicas[1 - used].address)
    prompt = list((await alone.call("tokenize", "Hello")).token_ids)

    await proxies[used].kill()
    chunks += await asyncio.wait_for(stream.all(), 30)

    came = [token for chunk in chunks if not chunk.continued for token in chunk.token_ids]
    rest = [token for chunk in chunks if chunk.continued for token in chunk.token_ids]
    asked = {**ASKED, "max_tokens": TOKENS - len(came)}
    alike = await alone.generate(token_ids=[*prompt, *came], return_token_ids=True, **asked)
    assert rest == list(alike.token_ids)
    reply = await stream.reply()
    assert reply.text == await alone.call("detokenize", [*came, *rest])
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (len(prompt), TOKENS)
    assert reply.continued == 1


async def test_streams_of_a_lost_replica_end_whole_or_with_exactly_what_came(
    make_caller: MakeCaller, open_service: OpenService, open_proxy: OpenProxy
) -> None:
    slow = {"step_time_ms": 5}
    proxies = [await open_proxy((await open_service(simulated=slow)).address) for _ in range(2)]
    caller = make_caller([proxy.target for proxy in proxies], resume=True, retry=QUICK)
    # The service and the blocking client share the loop's threads.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    # Those with a stop text cannot go on elsewhere.
    asked = [{**ASKED, "stop": ["never"]} if number % 3 == 0 else ASKED for number in range(16)]
    streams = [caller.stream(f"Hello {number}", **options) for number, options in enumerate(asked)]
    heard = [[await stream.read()] for stream in streams]

    async def read(number: int) -> Any:
        while (chunk := await streams[number].read()) is not None:
            heard[number].append(chunk)
        return await streams[number].reply()

    reading = [asyncio.create_task(read(number)) for number in range(16)]
    await proxies[0].kill()
    ends: list[Any] = await asyncio.wait_for(asyncio.gather(*reading, return_exceptions=True), 60)

    assert any(isinstance(end, StreamInterrupted) for end in ends)
    assert any(not isinstance(end, StreamInterrupted) and end.continued for end in ends)
    for chunks, end in zip(heard, ends, strict=True):
        reply = end.partial if isinstance(end, StreamInterrupted) else end
        assert reply.text == "".join(chunk.text for chunk in chunks if chunk is not None)
        assert isinstance(end, StreamInterrupted) or reply.usage.completion_tokens == TOKENS


async def test_leaving_a_resumable_stream_frees_the_engine(make_caller: MakeCaller, stuck: Running) -> None:
    caller = make_caller(stuck.address, resume=True)
    stream = caller.stream("Hello", **ASKED)
    await eventually(lambda: stuck.engine.running == 1, "the call runs")

    await stream.close()

    await eventually(lambda: stuck.engine.running == 0, "the engine is idle")
