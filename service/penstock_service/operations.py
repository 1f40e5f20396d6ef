"""The Operations service, for the admin port."""

import asyncio
import contextlib
import math
import time
from typing import NamedTuple

from penstock.v1 import operations_pb2 as pb
from penstock.v1.operations_pb2_grpc import OperationsServicer as Servicer
from penstock_service.answer import Context, answers
from penstock_service.call import Call
from penstock_service.deadlines import Deadlines
from penstock_service.door import Door
from penstock_service.engine_sleep import EngineSleep
from penstock_service.errors import CallsRunning, InvalidRequest, Violation
from penstock_service.health import Health
from penstock_service.lifecycle import Lifecycle
from penstock_service.server_load import load
from penstock_service.server_status import Birth, differs, status
from penstock_service.settings import Settings
from penstock_service.telemetry import Telemetry

_LOOK_SECONDS = 0.1
_INTERVAL_MS = (100, 1000, 60_000)  # least, default, most
_SLEEP_WAIT_SECONDS = 30.0
_MOST_SECONDS = 86_400


class Operated(NamedTuple):
    """What the operator sees and changes."""

    settings: Settings
    lifecycle: Lifecycle
    health: Health
    door: Door


class OperationsServicer(Servicer):
    """Tells of one service, and does to it what its operator asks for."""

    def __init__(self, operated: Operated, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self.deadlines = Deadlines.of(operated.settings)
        self._settings, self._lifecycle, health, self._door = operated
        self._sleep = EngineSleep(self._lifecycle, health)
        self._birth = Birth.now()
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End the watches."""
        self._closing.set()

    @answers("penstock.v1.Operations/GetStatus")
    async def GetStatus(self, request: pb.GetStatusRequest, context: Context, call: Call) -> pb.Status:
        """See the contract."""
        call.polled = True
        return self._status()

    @answers("penstock.v1.Operations/WatchStatus", limited=False)
    async def WatchStatus(self, request: pb.WatchStatusRequest, context: Context, call: Call) -> None:
        """See the contract."""
        least, default, most = _INTERVAL_MS
        given = request.interval_ms if request.HasField("interval_ms") else default
        _check("interval_ms", given, least, most)
        while True:
            told, at = self._status(), time.monotonic()
            await context.write(told)
            while not differs(self._status(), told) and time.monotonic() < at + given / 1000:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), _LOOK_SECONDS)
                    return

    @answers("penstock.v1.Operations/GetLoad")
    async def GetLoad(self, request: pb.GetLoadRequest, context: Context, call: Call) -> pb.Load:
        """See the contract."""
        call.polled = True
        return load(self._lifecycle, self._door)

    @answers("penstock.v1.Operations/Drain")
    async def Drain(self, request: pb.DrainRequest, context: Context, call: Call) -> pb.DrainResponse:
        """See the contract."""
        seconds = request.drain_seconds if request.HasField("drain_seconds") else None
        if seconds is not None:
            _check("drain_seconds", seconds, 0, _MOST_SECONDS)
        self._lifecycle.begin_drain(seconds)
        now = self._lifecycle.drain_seconds
        return pb.DrainResponse(
            running_calls=self._lifecycle.running,
            lame_duck_seconds=self._settings.lame_duck_seconds,
            drain_seconds=self._settings.drain_seconds if now is None else now,
        )

    @answers("penstock.v1.Operations/Sleep", limited=False)
    async def Sleep(self, request: pb.SleepRequest, context: Context, call: Call) -> pb.SleepResponse:
        """See the contract."""
        seconds = request.wait_seconds if request.HasField("wait_seconds") else _SLEEP_WAIT_SECONDS
        _check("wait_seconds", seconds, 0, _MOST_SECONDS)
        await self._sleep.begin(seconds)
        return pb.SleepResponse()

    @answers("penstock.v1.Operations/Wake")
    async def Wake(self, request: pb.WakeRequest, context: Context, call: Call) -> pb.WakeResponse:
        """See the contract."""
        await self._sleep.end()
        return pb.WakeResponse()

    @answers("penstock.v1.Operations/ResetPrefixCache")
    async def ResetPrefixCache(
        self, request: pb.ResetPrefixCacheRequest, context: Context, call: Call
    ) -> pb.ResetPrefixCacheResponse:
        """See the contract."""
        with self._lifecycle.call() as engine:
            if not await engine.controls.reset_prefix_cache(request.preempt_running):
                raise CallsRunning("running generations hold a part of the cache; preempt_running takes it from them")
        return pb.ResetPrefixCacheResponse()

    @answers("penstock.v1.Operations/StartProfile")
    async def StartProfile(
        self, request: pb.StartProfileRequest, context: Context, call: Call
    ) -> pb.StartProfileResponse:
        """See the contract."""
        with self._lifecycle.call() as engine:
            await engine.controls.start_profile()
        return pb.StartProfileResponse()

    @answers("penstock.v1.Operations/StopProfile")
    async def StopProfile(self, request: pb.StopProfileRequest, context: Context, call: Call) -> pb.StopProfileResponse:
        """See the contract."""
        with self._lifecycle.call() as engine:
            await engine.controls.stop_profile()
        return pb.StopProfileResponse()

    def _status(self) -> pb.Status:
        return status(self._lifecycle, self._door, self._settings, self._birth, time.monotonic())


def _check(field: str, given: float, least: float, most: float) -> None:
    if not (math.isfinite(given) and least <= given <= most):
        raise InvalidRequest([Violation(field, f"must be {least} to {most}, got {given:g}")])
