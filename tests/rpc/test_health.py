"""Health answers from the first moment, and tells the truth in order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import OpenService, Running, eventually, opened, simulated_settings
from tests.faults.faulty_engine import HeldLoading

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
READINESS = ["", "penstock.v1.Generation", "penstock.v1.Models"]


@asynccontextmanager
async def health_stub(port: int) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)


async def status(stub: health_pb2_grpc.HealthStub, service: str) -> int:
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


@pytest.mark.parametrize("port", ["health_port", "grpc_port"])
async def test_it_is_alive_but_not_ready_while_the_model_loads_and_ready_after(
    open_service: OpenService, port: str
) -> None:
    loading = HeldLoading()
    running = await open_service(load=loading, ready=False)

    async with health_stub(getattr(running.service, port)) as stub:
        assert [await status(stub, name) for name in READINESS] == [NOT_SERVING] * 3
        assert await status(stub, "liveness") == SERVING

        loading.release.set()
        await running.service.loading

        assert [await status(stub, name) for name in [*READINESS, "liveness"]] == [SERVING] * 4


async def test_an_unknown_service_is_not_found(simulated: Running) -> None:
    async with health_stub(simulated.service.health_port) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await status(stub, "penstock.v1.Nothing")

    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_hears_of_every_change_until_the_service_stops() -> None:
    loading = HeldLoading()
    heard = []
    async with opened(simulated_settings(), loading, ready=False) as running:
        async with health_stub(running.service.health_port) as stub:
            watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
            heard.append((await watch.read()).status)
            loading.release.set()
            heard.append((await watch.read()).status)
            await running.service.drain(0)
            heard.append((await watch.read()).status)
            alive = await status(stub, "liveness")

    assert heard == [NOT_SERVING, SERVING, NOT_SERVING]
    assert alive == SERVING


async def test_a_dead_engine_is_not_ready(simulated: Running) -> None:
    async with health_stub(simulated.service.health_port) as stub:
        simulated.engine.kill()
        with pytest.raises(RuntimeError):
            await simulated.service.failure()

        assert await status(stub, "") == NOT_SERVING


async def test_a_stop_while_loading_does_not_end_in_ready(open_service: OpenService) -> None:
    loading = HeldLoading()
    running = await open_service(load=loading, ready=False)
    async with health_stub(running.service.health_port) as stub:
        await running.service.drain(0)
        loading.release.set()
        await eventually(running.service.loading.done, "loading ends")

        assert await status(stub, "") == NOT_SERVING
