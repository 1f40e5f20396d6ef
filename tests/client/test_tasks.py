"""Streams that are kept in a state file, and go on in another process."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import grpc
import pytest

from penstock import StreamInterrupted
from penstock.tasks.task import Task
from tests.client.conftest import AsyncioStream, BlockingStream, Caller, MakeCaller
from tests.client.scripted_server import ScriptedServer
from tests.conftest import OpenService, Running, opened, simulated_settings

PROMPT = "Once upon a time"
TOKENS = 120

# Prints a line for each chunk, and dies in whatever way it is killed.
CHILD = """
import os
from penstock import Client
client = Client(os.environ["TARGET"], state=os.environ["STATE"], resume=True, sessions=os.environ["SESSIONS"])
stream = client.stream(
    os.environ["PROMPT"], max_tokens=int(os.environ["TOKENS"]), ignore_eos=True, max_delay_ms=0, request_id="mine",
    return_token_ids=os.environ["WITH_IDS"] == "yes",
)
client.tasks.list()  # by then it is kept
print("begun", flush=True)
for chunk in stream:
    print("chunk", flush=True)
"""
RESUMING_CHILD = """
import os
from penstock import Client
client = Client(os.environ["TARGET"], state=os.environ["STATE"], resume=True, sessions=os.environ["SESSIONS"])
(task,) = client.tasks.list()
print("begun", flush=True)
for chunk in client.tasks.resume(task.id):
    print("chunk", flush=True)
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def keeper(make_caller: MakeCaller, server: ScriptedServer, state: Path) -> Caller:
    """A caller that keeps its streams."""
    return make_caller(server.target, state=state, resume=True)


@pytest.fixture
async def slow(open_service: OpenService) -> Running:
    """A service that takes about a second for TOKENS tokens."""
    return await open_service(simulated={"step_time_ms": 7})


async def kept(caller: Caller) -> list[Task]:
    tasks: list[Task] = await caller.call("tasks.list")
    return tasks


async def only(caller: Caller) -> Task:
    (task,) = await kept(caller)
    return task


async def resumed(caller: Caller, task_id: str) -> BlockingStream | AsyncioStream:
    stream = await caller.call("tasks.resume", task_id)
    return AsyncioStream(stream) if hasattr(stream, "aclose") else BlockingStream(stream)


class Child:
    """Another process that reads a stream until it is killed."""

    def __init__(self, service: Running, state: Path, transport: dict[str, str]) -> None:
        self._environment = {
            **os.environ,
            "TARGET": service.address,
            "STATE": str(state),
            "SESSIONS": transport["sessions"],
            "PROMPT": PROMPT,
            "TOKENS": str(TOKENS),
            "WITH_IDS": "no",
        }

    async def dies_after(self, chunks: int, code: str = CHILD, **environment: str) -> None:
        """Kill it (-9) once it has read so many chunks."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env={**self._environment, **environment}
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                for expected in [b"begun\n", *chunks * [b"chunk\n"]]:
                    assert await process.stdout.readline() == expected
        finally:
            process.kill()
            await process.wait()


@pytest.fixture
def child(slow: Running, state: Path, transport: dict[str, str]) -> Child:
    return Child(slow, state, transport)


async def whole_text(caller: Caller) -> str:
    return (await caller.generate(PROMPT, max_tokens=TOKENS, ignore_eos=True)).text


@pytest.mark.parametrize("with_ids", ["yes", "no"])
async def test_a_stream_goes_on_in_another_process_after_kill_9(
    make_caller: MakeCaller, slow: Running, state: Path, child: Child, with_ids: str
) -> None:
    await child.dies_after(chunks=20, WITH_IDS=with_ids)
    caller = make_caller(slow.address, state=state, resume=True)

    task = await only(caller)
    assert (task.state, task.request.request_id) == ("interrupted", "mine")
    whole = await whole_text(caller)
    assert whole.startswith(task.partial.text)
    stream = await resumed(caller, task.id)
    assert stream.text == task.partial.text
    reply = await stream.reply()

    assert (reply.text, reply.finish_reason) == (whole, "length")
    assert len(reply.token_ids) == (TOKENS if with_ids == "yes" else 0)
    assert await kept(caller) == []


async def test_it_may_be_killed_again_and_nothing_is_lost_or_doubled(
    make_caller: MakeCaller, slow: Running, state: Path, child: Child
) -> None:
    await child.dies_after(chunks=5)
    await child.dies_after(chunks=5, code=RESUMING_CHILD)
    caller = make_caller(slow.address, state=state, resume=True)

    stream = await resumed(caller, (await only(caller)).id)

    assert (await stream.reply()).text == await whole_text(caller)


async def test_it_goes_on_at_another_replica_if_its_own_is_gone(
    make_caller: MakeCaller, slow: Running, state: Path, transport: dict[str, str]
) -> None:
    async with opened(simulated_settings(simulated={"step_time_ms": 7})) as lost:
        await Child(lost, state, transport).dies_after(chunks=20, WITH_IDS="yes")
    caller = make_caller([lost.address, slow.address], state=state, resume=True)
    task = await only(caller)

    stream = await resumed(caller, task.id)
    reply = await stream.reply()

    assert reply.text.startswith(task.partial.text)
    assert (len(reply.token_ids), reply.finish_reason) == (TOKENS, "length")
    assert reply.continued == 1
    assert await kept(caller) == []


async def test_a_stream_that_had_no_chunk_yet_is_begun_anew(
    make_caller: MakeCaller, slow: Running, state: Path, child: Child
) -> None:
    await child.dies_after(chunks=0)
    caller = make_caller(slow.address, state=state, resume=True)
    task = await only(caller)
    assert (task.token, task.next_seq) == ("", 0)

    stream = await resumed(caller, task.id)

    assert (await stream.reply()).text == await whole_text(caller)
    assert await kept(caller) == []


async def test_a_cancelled_task_ends_at_its_server(
    make_caller: MakeCaller, slow: Running, state: Path, child: Child
) -> None:
    await child.dies_after(chunks=5, TOKENS="900")
    caller = make_caller(slow.address, state=state, resume=True)
    task = await only(caller)

    await caller.call("tasks.cancel", task.id)

    assert await kept(caller) == []
    status = await caller.call("status", task.partial.id)
    assert status.phase == "ended"
    assert status.completion_tokens < 900


async def test_a_stream_that_was_read_to_its_end_is_not_kept(keeper: Caller) -> None:
    await keeper.stream("Once").reply()

    assert await kept(keeper) == []


async def test_a_stream_that_is_left_early_is_not_kept(keeper: Caller, server: ScriptedServer) -> None:
    server.block_after = 1

    await keeper.stream("Once").first_of_with()

    assert await kept(keeper) == []


async def test_a_stream_is_kept_while_it_is_read(keeper: Caller, server: ScriptedServer) -> None:
    server.block_after = 1
    stream = keeper.stream("Once", model="tiny")
    await stream.read()

    task = await only(keeper)
    assert (task.state, task.request.prompt, task.request.model) == ("running", "Once", "tiny")
    assert (task.next_seq, task.partial.text) == (1, "Hello")
    with pytest.raises(ValueError, match="is read by a stream"):
        await keeper.call("tasks.resume", task.id)

    server.release.set()
    await stream.reply()


async def test_an_interrupted_stream_is_kept_with_its_partial_text_and_its_error(
    make_caller: MakeCaller, server: ScriptedServer, state: Path
) -> None:
    keeper = make_caller(server.target, state=state, resume=True, timeout=5)
    server.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "too late", after=1)

    with pytest.raises(StreamInterrupted) as caught:
        await keeper.stream("Once").reply()

    task = await only(keeper)
    assert (task.state, task.partial.text) == ("interrupted", "Hello")
    assert task.error == str(caught.value)


async def test_a_refused_stream_is_not_kept(keeper: Caller, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")

    with pytest.raises(Exception, match="INVALID_FIELD"):
        await keeper.stream("Once").reply()

    assert await kept(keeper) == []


async def test_a_stream_that_is_not_to_be_resumed_is_not_kept(keeper: Caller, server: ScriptedServer) -> None:
    server.block_after = 1
    stream = keeper.stream("Once", resume=False)
    await stream.read()

    assert await kept(keeper) == []
    await stream.close()


async def test_a_forgotten_task_is_gone(make_caller: MakeCaller, server: ScriptedServer, state: Path) -> None:
    keeper = make_caller(server.target, state=state, resume=True, timeout=5)
    server.fail(grpc.StatusCode.DEADLINE_EXCEEDED, "too late", after=1)
    for _ in range(3):
        with pytest.raises(StreamInterrupted):
            await keeper.stream("Once").reply()
    first, second, third = await kept(keeper)

    await keeper.call("tasks.forget", second.id)
    assert [task.id for task in await kept(keeper)] == [first.id, third.id]
    await keeper.call("tasks.clear")

    assert await kept(keeper) == []


@pytest.mark.parametrize("method", ["get", "resume", "cancel", "forget"])
async def test_an_unknown_task_is_an_error_that_names_it(keeper: Caller, method: str) -> None:
    with pytest.raises(ValueError, match="id is 'nothing'"):
        await keeper.call(f"tasks.{method}", "nothing")


async def test_a_client_without_a_state_file_has_no_tasks(caller: Caller) -> None:
    with pytest.raises(ValueError, match="state was not given"):
        await caller.call("tasks.list")
