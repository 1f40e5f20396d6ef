"""Bytes that are nearly requests raise nothing but statuses (tests/rpc/fuzz_bytes.py tells how to go further)."""

import random
from collections import Counter

from tests.rpc.request_bytes import seeds, take

ROUNDS = 40


def mutated(data: bytes, chance: random.Random) -> bytes:
    """`data` with some bytes changed, cut out, doubled or put elsewhere."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(changed) + 1), chance.randint(1, 8)
        match chance.randrange(5):
            case 0:
                changed[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[place : place + length]
            case 2:
                changed[place:place] = changed[place : place + length]
            case 3:
                changed[place:place] = chance.randbytes(length)
            case 4 if place < len(changed):
                changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)


def test_changed_bytes_of_requests_are_requests_or_refused_with_a_status() -> None:
    chance = random.Random(20_261_121)
    outcomes = Counter(take(mutated(data, chance)) for data in seeds() for _ in range(ROUNDS))

    assert outcomes["taken"] > 100
    assert outcomes["INVALID_FIELD"] > 100
    assert outcomes["unreadable"] > 100


def test_requests_joined_are_requests_or_refused_with_a_status() -> None:
    chance = random.Random(20_261_122)
    all_seeds = list(seeds())
    outcomes = Counter(take(chance.choice(all_seeds) + chance.choice(all_seeds)) for _ in range(1000))

    assert outcomes["INVALID_FIELD"] > 100
    assert not outcomes["unreadable"]
