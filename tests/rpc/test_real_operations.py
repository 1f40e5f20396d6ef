"""Operations over vLLM itself, and what its processes leave open on the machine."""

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock.v1.operations_pb2 import (
    STAGE_SERVING,
    GetLoadRequest,
    GetStatusRequest,
    ResetPrefixCacheRequest,
    SleepRequest,
    StartProfileRequest,
    StopProfileRequest,
    WakeRequest,
)
from penstock.v1.operations_pb2_grpc import OperationsStub
from tests.conftest import Running
from tests.rpc.error_details import failure_of

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]

LONG = pb.GenerateRequest(prompt="Once upon a time", stopping={"max_tokens": 900, "ignore_eos": True})
# Longer than a block of the cache, of which only whole ones are shared.
TWICE = pb.GenerateRequest(prompt="The same words again. " * 60, stopping={"max_tokens": 1})


@pytest.fixture
async def operations(real: Running) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{real.service.admin_port}") as channel:
        yield OperationsStub(channel)


async def test_the_status_and_the_load_of_vllm(real: Running, operations: Any) -> None:
    call = real.generation.StreamGenerate(LONG)
    for _ in range(20):
        await call.read()
    status = await operations.GetStatus(GetStatusRequest())
    load = await operations.GetLoad(GetLoadRequest())
    call.cancel()

    assert (status.stage, status.ready, status.engine) == (STAGE_SERVING, True, "vllm")
    assert status.engine_version == real.engine.model.engine_version
    assert (load.running_sequences, load.waiting_sequences) == (1, 0)
    assert 0 < load.kv_cache_usage < 1
    assert load.places == real.engine.model.max_concurrent_sequences


async def test_cached_prefixes_are_forgotten_when_no_generation_holds_them(real: Running, operations: Any) -> None:
    await real.generation.Generate(TWICE)
    cached = (await real.generation.Generate(TWICE)).usage.cached_prompt_tokens
    await operations.ResetPrefixCache(ResetPrefixCacheRequest())
    forgotten = (await real.generation.Generate(TWICE)).usage.cached_prompt_tokens

    assert (cached > 0, forgotten) == (True, 0)


async def test_a_running_generation_keeps_the_cache_or_gives_it_up_and_loses_nothing(
    real: Running, operations: Any
) -> None:
    chunks = aiter(real.generation.StreamGenerate(LONG))
    await anext(chunks)
    failure = await failure_of(operations.ResetPrefixCache(ResetPrefixCacheRequest()))
    await operations.ResetPrefixCache(ResetPrefixCacheRequest(preempt_running=True))
    *_, last = [chunk async for chunk in chunks]

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CALLS_RUNNING")
    assert last.usage.completion_tokens == 900


async def test_what_this_engine_cannot_do_is_refused_and_changes_nothing(real: Running, operations: Any) -> None:
    failures = [
        await failure_of(operations.Sleep(SleepRequest())),
        await failure_of(operations.StartProfile(StartProfileRequest())),
        await failure_of(operations.StopProfile(StopProfileRequest())),
    ]
    await operations.Wake(WakeRequest())

    assert {(each.code, each.reason) for each in failures} == {(grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")}
    assert "--enable-sleep-mode" in failures[0].text
    assert "--profiler-config" in failures[1].text
    assert (await operations.GetStatus(GetStatusRequest())).ready


def vllm_processes() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [each for each in children if each.cmdline() and each.cmdline()[0].startswith("VLLM::")]


async def test_the_sockets_of_the_engine_are_files_that_only_its_user_can_reach(real: Running) -> None:
    sockets = [
        Path(connection.laddr)
        for process in vllm_processes()
        for connection in process.net_connections("unix")
        if connection.laddr.startswith("/")
    ]

    assert sockets
    for directory in {socket.parent for socket in sockets}:
        status = directory.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, os.getuid())


async def test_the_engine_listens_on_no_address_that_others_reach(real: Running) -> None:
    # Gloo's own ports cannot be turned off; they are where nobody from outside comes.
    hosts = {
        connection.laddr.ip
        for process in vllm_processes()
        for connection in process.net_connections("inet")
        if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    }

    assert hosts <= {"127.0.0.1", "::1"}
