"""What closing a client does to the calls that are open, wherever they are."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from penstock import RequestCancelled, Timeout
from penstock.resilience import aio_resilient_call, aio_unary_calls, resilient_call, unary_calls
from penstock.resilience.cancels import AsyncCancels, Cancels
from tests.client.conftest import BlockingCaller, Caller, MakeCaller, in_thread
from tests.client.scripted_server import ScriptedServer
from tests.conftest import eventually

Ask = Callable[[Caller], Awaitable[Any]]


async def generate(caller: Caller) -> None:
    await caller.generate("Once")


async def stream(caller: Caller) -> None:
    if isinstance(caller, BlockingCaller):
        await in_thread(lambda: caller.client.stream("Once").reply())
    else:
        await caller.client.stream("Once").reply()


@pytest.fixture(params=[generate, stream])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param


async def closes(caller: Caller, open_call: asyncio.Task[Any]) -> RequestCancelled:
    """What the call raises, which could go on for minutes; nobody hears of another attempt."""
    retried: list[Any] = []
    caller.client.on("retry", retried.append)
    await caller.close()
    with pytest.raises(RequestCancelled, match="the client was closed") as caught:
        await asyncio.wait_for(open_call, 20)
    assert not retried
    return caught.value


# In grpc's own thread, which may look at the connection once more after the channel was closed.
@pytest.mark.filterwarnings("ignore:(?s).*Cannot monitor channel state:pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_call_that_waits_for_its_connection_ends(make_caller: MakeCaller, ask: Ask) -> None:
    dialled = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.set()
        kept.append(writer)

    kept: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        caller = make_caller(f"127.0.0.1:{port}", timeout=Timeout(connect=120, total=120))
        open_call = asyncio.create_task(ask(caller))  # type: ignore[arg-type]
        await dialled.wait()

        await closes(caller, open_call)
        kept.pop().close()


async def test_a_call_that_waits_to_be_tried_again_ends(
    make_caller: MakeCaller, server: ScriptedServer, ask: Ask
) -> None:
    minute = Duration()
    minute.FromSeconds(60)
    server.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", error_details_pb2.RetryInfo(retry_delay=minute))
    caller, retries = make_caller(server.target), []
    caller.client.on("retry", retries.append)
    open_call = asyncio.create_task(ask(caller))  # type: ignore[arg-type]
    await eventually(lambda: bool(retries))

    error = await closes(caller, open_call)

    assert error.attempts == 1


async def test_a_call_that_was_about_to_be_sent_ends(
    make_caller: MakeCaller, server: ScriptedServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = make_caller(server.target, timeout=Timeout(connect=60))

    async def close_async(*_: object) -> None:
        await caller.close()

    def close(*_: object) -> None:
        assert isinstance(caller, BlockingCaller)
        caller.client.close()

    for module in (resilient_call, unary_calls):
        monkeypatch.setattr(module, "connect", close)
    for module in (aio_resilient_call, aio_unary_calls):
        monkeypatch.setattr(module, "connect_async", close_async)

    with pytest.raises(RequestCancelled, match="the client was closed"):
        await ask(caller)


async def test_a_closed_client_says_so(caller: Caller, ask: Ask) -> None:
    await caller.close()

    with pytest.raises(RuntimeError, match="this client is closed"):
        await ask(caller)


class Open:
    """A stream that needs a Cancel."""

    def cancel(self) -> None:
        """Nothing to do."""


@pytest.fixture
def eager_threads() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
@pytest.mark.parametrize("kind", [Cancels, AsyncCancels])
async def test_streams_may_begin_while_the_client_closes(kind: type[Cancels | AsyncCancels]) -> None:
    cancels = kind()
    streams = [Open() for _ in range(3000)]
    for each in streams:
        cancels.expect(each)
    begun, over = threading.Event(), threading.Event()

    def begin_more() -> None:
        async def begin() -> None:
            while not over.is_set():
                streams.append(Open())
                cancels.expect(streams[-1])
                begun.set()

        asyncio.run(begin())

    beginning = threading.Thread(target=begin_more)
    beginning.start()
    begun.wait()
    try:
        for _ in range(100):
            finished = cancels.finish()
            if finished is not None:
                await finished
    finally:
        over.set()
        beginning.join()


async def test_connections_are_closed_even_if_streams_cannot_be_ended(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    async def fail_async(_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(Cancels, "finish", fail)
        broken.setattr(AsyncCancels, "finish", fail_async)
        with pytest.raises(ZeroDivisionError):
            await caller.close()

    with pytest.raises(RuntimeError, match="this client is closed"):
        await caller.generate("Once")
