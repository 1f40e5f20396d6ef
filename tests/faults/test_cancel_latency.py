"""What nobody waits for any more leaves the engine at once, wherever it is."""

from tests.faults.cancel_latency import LIMIT_SECONDS, measured

FOR_A_BUSY_MACHINE = 8


async def test_calls_that_are_given_up_at_any_point_free_the_engine() -> None:
    latencies = await measured(calls=96, kills=1, seed=20261121)

    assert latencies.wrong == []
    assert max(latencies.every()) < FOR_A_BUSY_MACHINE * LIMIT_SECONDS
    assert {"cancel queued", "cancel kept", "cancel midway", "deadline queued"} <= set(latencies.seconds)
    assert len(latencies.every("kill")) == 64
