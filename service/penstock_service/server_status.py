"""What GetStatus and WatchStatus tell. Pure: the time comes in."""

import time
from typing import NamedTuple, Self

from google.protobuf.timestamp_pb2 import Timestamp

from penstock.v1 import operations_pb2 as pb
from penstock_service import __version__
from penstock_service.door import Door
from penstock_service.lifecycle import Lifecycle, Stage
from penstock_service.loading_progress import LoadingProgress
from penstock_service.settings import Settings

_NOT_READY = {
    Stage.LOADING: "the engine is loading",
    Stage.SERVING: "a stop was asked for",
    Stage.STALLED: "the engine has work and makes no step at the moment",
    Stage.ASLEEP: "the engine sleeps, or waits for the running calls to do so",
    Stage.LAME_DUCK: "a stop was asked for; calls are admitted until balancers have noticed",
    Stage.DRAINING: "the server lets its calls finish and then ends",
    Stage.FAILED: "the engine is dead",
}


class Birth(NamedTuple):
    """When the service began, by both clocks."""

    wall: float
    monotonic: float

    @classmethod
    def now(cls) -> Self:
        """This moment."""
        return cls(time.time(), time.monotonic())


def status(lifecycle: Lifecycle, door: Door, settings: Settings, birth: Birth, now: float) -> pb.Status:
    """How the server stands at `now`, by the monotonic clock."""
    engine, stage = lifecycle.engine, lifecycle.stage
    waiting = engine.waiting if engine else 0  # inside it; the others wait at our door
    return pb.Status(
        stage=f"STAGE_{stage.name}",
        ready=lifecycle.ready,
        not_ready_because="" if lifecycle.ready else _NOT_READY[stage],
        loading=_loading(lifecycle.progress) if stage is Stage.LOADING else None,
        model=settings.model_name,
        engine=settings.engine,
        engine_version=engine.model.engine_version if engine else "",
        version=__version__,
        start_time=Timestamp(seconds=int(birth.wall)),
        uptime_ms=round(1000 * (now - birth.monotonic)),
        engine_restarts=lifecycle.engine_restarts,
        running_calls=lifecycle.running,
        running_sequences=max(engine.running - waiting, 0) if engine else 0,
        waiting_sequences=waiting + door.places.queue.sequences,
    )


def differs(one: pb.Status, other: pb.Status) -> bool:
    """Whether a watcher is to hear at once that one has become the other."""
    return _noteworthy(one) != _noteworthy(other)


def _noteworthy(told: pb.Status) -> tuple[object, ...]:
    return told.stage, told.ready, told.not_ready_because, told.loading.step


def _loading(progress: LoadingProgress) -> pb.Loading:
    return pb.Loading(
        step=progress.step,
        step_time_ms=round(1000 * progress.step_seconds),
        loading_time_ms=round(1000 * progress.seconds),
        percent=progress.percent,
    )
