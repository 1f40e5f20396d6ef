"""What GetLoad tells."""

import math

from penstock.v1 import operations_pb2 as pb
from penstock_service.admission import Asked
from penstock_service.door import Door
from penstock_service.errors import Unavailable
from penstock_service.lifecycle import Lifecycle, Stage
from penstock_service.tenant import ANONYMOUS

# A generation of one sequence, whose prompt nobody knows.
_ANY = Asked(ANONYMOUS.name, 1, 0)


def load(lifecycle: Lifecycle, door: Door) -> pb.Load:
    """How busy the server is: counters that are there anyway. Raises Unavailable while there is no engine."""
    engine = lifecycle.engine
    if engine is None or lifecycle.stage is Stage.FAILED:
        lifecycle.check_admitting()
        raise Unavailable("DRAINING")  # a stop came before the engine
    limits, wait = door.limits_of(engine.model), door.outlook(engine, _ANY, 0).wait
    waiting = engine.waiting  # inside it; the others wait at our door
    return pb.Load(
        running_sequences=max(engine.running - waiting, 0),
        waiting_sequences=waiting + door.places.queue.sequences,
        places=limits.places,
        max_admitted_sequences=limits.sequences,
        queued_tokens=door.queued_tokens,
        max_queued_tokens=limits.queued_tokens,
        kv_cache_usage=engine.kv_cache_usage,
        predicted_wait_ms=None if wait is None else math.ceil(1000 * wait),
        admitting=lifecycle.admitting,
    )
