"""What needs a process of its own: event loops one after the other, forks, environment variables, other Pythons."""

import asyncio
import os
import sys
import time

import pytest

from tests.client.scripted_server import ScriptedServer
from tests.conftest import eventually


async def run(code: str, **environment: str) -> str:
    """What the Python program prints. Its exit status must be 0; on stderr grpc itself is not always silent."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        code,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode().strip()


@pytest.mark.parametrize("sessions", ["never", "always"])
async def test_one_async_client_serves_one_loop_after_another(server: ScriptedServer, sessions: str) -> None:
    code = """
import asyncio, os
from penstock import AsyncClient
client = AsyncClient(os.environ["TARGET"], sessions=os.environ["SESSIONS"])
async def ask():
    texts = [(await client.generate("Once")).text]
    async for chunk in client.stream("Once"):
        texts.append(chunk.text)
        break
    return "|".join(texts)
print(asyncio.run(ask()), asyncio.run(ask()), sep="\\n")
"""
    assert await run(code, TARGET=server.target, SESSIONS=sessions) == "Hello wörld|Hello\nHello wörld|Hello"


async def test_a_client_made_before_a_fork_works_in_the_child(server: ScriptedServer) -> None:
    code = """
import os
from penstock import Client
client = Client(os.environ["TARGET"])
child = os.fork()
text = client.generate("Once", timeout=20).text
if child == 0:
    os._exit(0 if text == "Hello w\\u00f6rld" else 1)
assert os.waitpid(child, 0)[1] == 0
print(text)
"""
    assert await run(code, TARGET=server.target) == "Hello wörld"


async def test_a_client_used_before_a_fork_works_on_in_the_parent_and_in_the_child(server: ScriptedServer) -> None:
    code = """
import os
from penstock import Client
client = Client(os.environ["TARGET"])
client.generate("Once", timeout=20)
child = os.fork()
text = client.generate("Once", timeout=20).text
if child == 0:
    client.close()
    os._exit(0 if text == "Hello w\\u00f6rld" else 1)
assert os.waitpid(child, 0)[1] == 0
print(text)
"""
    environment = {"GRPC_ENABLE_FORK_SUPPORT": "true", "GRPC_POLL_STRATEGY": "poll"}
    assert await run(code, TARGET=server.target, **environment) == "Hello wörld"


async def test_a_session_open_at_a_fork_goes_on_in_the_parent_and_the_child_opens_its_own(
    server: ScriptedServer,
) -> None:
    server.block_after = 1
    code = """
import os, sys
from penstock import Client
client = Client(os.environ["TARGET"], sessions="always")
stream = client.stream("Once")
next(stream)
child = os.fork()
if child == 0:
    with client.stream("Once", timeout=20) as own:
        text = next(own).text
    client.close()
    os._exit(0 if text == "Hello" else 1)
assert os.waitpid(child, 0)[1] == 0
print("forked", flush=True)
print(stream.reply().text)
"""
    environment = {"GRPC_ENABLE_FORK_SUPPORT": "true", "GRPC_POLL_STRATEGY": "poll"}
    running = asyncio.create_task(run(code, TARGET=server.target, **environment))
    await asyncio.wait_for(server.cancelled.wait(), 30)  # the child's
    server.release.set()

    assert (await running).splitlines() == ["forked", "Hello wörld"]
    assert server.sessions_opened == 2


FORKS = {"GRPC_ENABLE_FORK_SUPPORT": "true", "GRPC_POLL_STRATEGY": "poll"}


@pytest.mark.parametrize("end", ["", "stream.close()", "del stream"])
async def test_a_stream_that_outlives_its_connection_is_not_ended_by_a_forked_child(
    server: ScriptedServer, end: str
) -> None:
    server.block_after = 1
    code = """
import os, signal
from penstock import Client
client = Client(os.environ["TARGET"], resume=True, sessions="never")
stream = client.stream("Once")
next(stream)
child = os.fork()
if child == 0:
    signal.alarm(20)
    client.generate("Once", timeout=20)
    exec(os.environ["END"])
    client.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("ended", flush=True)
print(stream.reply().text)
"""
    running = asyncio.create_task(run(code, TARGET=server.target, END=end, **FORKS))
    await eventually(lambda: len(server.requests) == 2 or running.done())  # the child's
    server.release.set()

    assert (await running).splitlines() == ["ended", "Hello wörld"]
    assert server.cancel_asked.empty()


async def test_a_client_works_in_a_child_that_was_forked_while_another_thread_counted(server: ScriptedServer) -> None:
    code = """
import os, signal, threading
from penstock import Cache, Client
cache = Cache()
client = Client(os.environ["TARGET"], cache=cache)
budget, statistics = client._transport._parts.budget, client._observers.statistics
observers, flights = client._observers, client._transport._flights
budget.spent()
held, counted = threading.Event(), threading.Event()
def hold():
    with budget._changing, statistics._lock, observers._changing, cache._lock, flights._lock:
        held.set()
        counted.wait()
thread = threading.Thread(target=hold, daemon=True)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    client.on("end", print)
    texts = [client.generate("Once", temperature=0, timeout=20).text for _ in range(2)]
    os._exit(0 if texts == ["Hello w\\u00f6rld"] * 2 else 1)
assert os.waitpid(child, 0)[1] == 0
counted.set()
thread.join()
"""
    await run(code, TARGET=server.target)


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
async def test_a_proxy_in_the_environment_is_not_for_us(server: ScriptedServer, variable: str) -> None:
    code = """
import os
from penstock import Client
print(Client(os.environ["TARGET"]).generate("Once", timeout=20).text)
"""
    assert await run(code, TARGET=server.target, **{variable: "http://no.such.proxy.invalid:9"}) == "Hello wörld"


@pytest.mark.parametrize("sessions", ["never", "always"])
async def test_a_program_that_forgets_its_streams_and_clients_ends(server: ScriptedServer, sessions: str) -> None:
    server.block_after = 1
    code = """
import asyncio, os
from penstock import AsyncClient, Client
options = {"target": os.environ["TARGET"], "sessions": os.environ["SESSIONS"]}
kept = Client(**options).stream("Once")
next(kept)
async def forget():
    stream = AsyncClient(**options).stream("Once")
    return await stream.read(), stream
chunk, stream = asyncio.run(forget())
print(chunk.text)
"""
    assert await asyncio.wait_for(run(code, TARGET=server.target, SESSIONS=sessions), 30) == "Hello"
    await asyncio.wait_for(server.cancelled.wait(), 10)


@pytest.mark.parametrize("flavour", ["sync", "async"])
async def test_a_program_ends_within_seconds_of_its_last_line_with_a_session_open(
    server: ScriptedServer, flavour: str
) -> None:
    code = """
import asyncio, os, sys, time
from penstock import AsyncClient, Client
if os.environ["FLAVOUR"] == "sync":
    client = Client(os.environ["TARGET"], sessions="always")
    client.stream("Once").reply()
else:
    async def main():
        await client.stream("Once").reply()
    client = AsyncClient(os.environ["TARGET"], sessions="always")
    asyncio.run(main())
print(time.monotonic())
"""
    last_line = float(await run(code, TARGET=server.target, FLAVOUR=flavour))

    assert time.monotonic() - last_line < 5
