"""A caller whose connection breaks has left: that is no error of ours."""

import asyncio

import grpc
import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from penstock_service.answer import settled
from penstock_service.call import Call
from penstock_service.errors import ServiceError
from penstock_service.telemetry import Telemetry


async def to_nobody() -> None:
    """What a write does once the connection is gone, if gRPC has not cancelled the call's task yet."""
    await asyncio.sleep(0)
    raise grpc.aio.InternalError("Failed grpc_call_start_batch: 8")


async def test_a_write_to_a_caller_who_has_left_is_a_cancelled_call(capsys: pytest.CaptureFixture[str]) -> None:
    call = Call("penstock.v1.Generation/StreamGenerate", None)
    telemetry = Telemetry(NoOpTracerProvider(), NoOpMeterProvider())

    outcome = await settled(telemetry, call, (), to_nobody())

    assert isinstance(outcome, ServiceError)
    assert (outcome.code, call.code, call.reason) == (*[grpc.StatusCode.CANCELLED] * 2, "CANCELLED")
    assert "internal error" not in capsys.readouterr().out
