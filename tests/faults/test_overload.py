"""A server of which too much is asked answers what it can, and tells the others when to come again."""

from random import Random

import pytest

from tests.benchmarks.overload import sweep
from tests.benchmarks.service_level import ServedModel, ServiceLevel, Users, capacity, connections, loosened
from tests.faults.server_under_load import server_under_load


@pytest.mark.slow
async def test_three_times_the_capacity_is_answered_or_refused_with_a_time_to_come_again() -> None:
    model, level = ServedModel(places=8, step_ms=5), loosened(ServiceLevel(), times=20)
    async with server_under_load(*model.arguments(), "--max-wait-seconds", "0.2") as server:
        users = Users(connections(server.address), Random(20261121))
        full = await capacity([users], model.places, seconds=1)

        (point,) = await sweep(server, users, level, full, seconds=1, factors=[3])

    assert point.goodput > full / 4
    assert len(point.refused) > len(point.calls) / 4
    assert all(call.succeeded or call.reason == "OVERLOADED" for call in point.calls)
    assert all((call.retry_after or 0) > 0 and int(call.pushback or -1) > 0 for call in point.refused)
    assert len(point.refusals_in_server) >= len(point.refused)
