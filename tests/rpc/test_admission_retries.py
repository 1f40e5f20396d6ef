"""What may be tried again tells gRPC's own retries when."""

import asyncio
import json

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.errors import Unavailable
from tests.conftest import OpenService, Running
from tests.faults.faulty_engine import faulty
from tests.rpc.error_details import failure_of
from tests.rpc.full_service import (
    full,
    pushback_of,
    request,
)


@pytest.mark.parametrize(("error", "pushback"), [(Unavailable("DRAINING"), "0"), (Unavailable("LOADING"), "5000")])
async def test_what_may_be_tried_again_says_so_in_grpcs_own_way(
    open_service: OpenService, error: Unavailable, pushback: str
) -> None:
    running = await open_service(load=faulty(error))

    call = running.generation.Generate(request())

    assert (await failure_of(call)).code is grpc.StatusCode.UNAVAILABLE
    assert await pushback_of(call) == pushback


async def test_other_failures_say_nothing_of_retries(simulated: Running) -> None:
    call = simulated.generation.Generate(pb.GenerateRequest())

    assert (await failure_of(call)).code is grpc.StatusCode.INVALID_ARGUMENT
    assert await pushback_of(call) is None


RETRYING = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": "penstock.v1.Generation"}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.001s",
                    "maxBackoff": "0.001s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": ["RESOURCE_EXHAUSTED", "UNAVAILABLE"],
                },
            }
        ]
    }
)


async def test_grpcs_own_retries_come_when_they_were_told(open_service: OpenService) -> None:
    running, calls = await full(open_service)
    async with grpc.aio.insecure_channel(running.address, options=[("grpc.service_config", RETRYING)]) as channel:
        stub = type(running.generation)(channel)
        loop = asyncio.get_running_loop()
        begun = loop.time()

        failure = await failure_of(stub.Generate(request()))

    assert failure.reason == "OVERLOADED"
    assert loop.time() - begun >= 1.9  # a second and more before each of two retries, and not a millisecond
    for call in calls:
        call.cancel()
