"""A resumable stream whose connection breaks goes on at the next token: none is lost, none comes twice."""

import pytest

from tests.conftest import Running
from tests.faults.cut_streams import cut_streams

SEED = 20261121


@pytest.mark.slow
async def test_three_hundred_cut_streams_arrive_whole(simulated: Running) -> None:
    tally = await cut_streams(simulated.address, 300, SEED)

    assert (tally.wrong, tally.errors) == ([], {})
    assert tally.streams == 300
    assert tally.resumed > 100  # the others were cut before their first chunk or after their last


@pytest.mark.slow
async def test_forty_cut_streams_of_the_blocking_client_arrive_whole(simulated: Running) -> None:
    tally = await cut_streams(simulated.address, 40, SEED, at_once=4, blocking=True)

    assert (tally.wrong, tally.errors) == ([], {})
    assert tally.resumed > 10


@pytest.mark.slow
@pytest.mark.real_vllm
@pytest.mark.timeout(600)
async def test_thirty_cut_streams_on_vllm_arrive_whole(real: Running) -> None:
    tally = await cut_streams(real.address, 30, SEED, at_once=4)

    assert (tally.wrong, tally.errors) == ([], {})
    assert tally.resumed > 5
