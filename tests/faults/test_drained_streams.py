"""A server that is told to stop finishes what runs."""

import pytest

from tests.faults.drained_streams import drains


@pytest.mark.slow
async def test_no_stream_is_lost_when_the_process_group_is_told_to_stop() -> None:
    drained = await drains(streams=64, seed=20261121)

    assert (drained.streams, drained.lost, drained.wrong) == (64, [], [])
    assert max(drained.unready) < 2
