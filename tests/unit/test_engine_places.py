"""How many sequences the engine is handed, and who waits."""

import asyncio

import pytest

from penstock.v1.models_pb2 import Model
from penstock_service.engine_places import EnginePlace, EnginePlaces, PlaceNeed


def places_of(most: int, frontends: int = 1, engine_waits: bool = False) -> EnginePlaces:
    places = EnginePlaces(lambda: engine_waits)
    places.fit_to(Model(max_concurrent_sequences=most), frontends)
    return places


def place(places: EnginePlaces, sequences: int = 1, tokens: int = 0) -> EnginePlace:
    return EnginePlace(places, PlaceNeed("one", sequences, tokens, 1), "", lambda begun: None)


def handed(places: EnginePlaces) -> int:
    """How many are handed over until one would have to wait."""
    while place(places).take():
        pass
    return places.taken


@pytest.mark.parametrize(
    ("frontends", "engine_waits", "most"), [(1, False, 288), (1, True, 288), (4, False, 288), (4, True, 72)]
)
def test_a_front_end_hands_over_more_than_its_part_only_while_nothing_waits_in_the_engine(
    frontends: int, engine_waits: bool, most: int
) -> None:
    assert handed(places_of(256, frontends, engine_waits)) == most


def test_a_large_one_does_not_wait_until_a_small_engine_is_empty() -> None:
    places = places_of(4)
    running = [place(places) for _ in range(6)]
    assert all(each.take() for each in running)

    assert not place(places, sequences=8).take()
    for each in running[:3]:  # then one of the four places is idle
        each.release()

    assert place(places, sequences=8).take()


async def test_who_leaves_the_queue_without_a_place_waits_with_no_tokens_any_more() -> None:
    places, begun = places_of(1), list[int]()
    handed(places)
    waiter = EnginePlace(places, PlaceNeed("one", 1, 100, 1), "", begun.append)
    turn = asyncio.create_task(waiter.turn())
    await asyncio.sleep(0)

    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)
    waiter.release()

    assert begun == [100]
