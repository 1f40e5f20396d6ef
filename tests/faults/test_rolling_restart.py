"""Replicas that restart one after the other are no matter to a client that knows both."""

import pytest

from tests.faults.rolling_restart import rolling_restart


@pytest.mark.slow
async def test_no_call_fails_while_two_replicas_restart() -> None:
    rolled = await rolling_restart(calls=100, seed=20261121, rate=40, calm=0.5)

    assert rolled.failures == []
    assert rolled.restarts >= 1
    assert set(rolled.exits) == {0}
