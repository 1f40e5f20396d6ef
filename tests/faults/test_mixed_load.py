"""Calls of all kinds beside each other come to what each of them must."""

from random import Random

from tests.conftest import OpenService
from tests.faults.mixed_load import KINDS, MixedLoad
from tests.faults.open_loop import open_loop, poisson


async def test_calls_of_all_kinds_beside_each_other(open_service: OpenService) -> None:
    running = await open_service()
    rng = Random(20261121)
    kinds = {kind: weight for kind, weight in KINDS.items() if kind != "slow"}

    async with MixedLoad(running.address, rng, kinds) as load:
        await open_loop(poisson(100, 1, rng), load.call)

    assert load.surprises == []
    assert {"unary OK", "stream OK", "session OK", "cancel CANCELLED", "bad INVALID_ARGUMENT"} <= set(load.outcomes)
