"""What the simulated engine makes of a request, however it is taken."""

import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.simulated_text import SimulatedSequence


def sequence(seed: int, stop: list[str]) -> SimulatedSequence:
    stopping = {"max_tokens": 3000, "ignore_eos": True, "stop": stop, "include_stop": bool(seed % 2)}
    return SimulatedSequence(pb.GenerateRequest(prompt="Hello", sampling={"seed": seed}, stopping=stopping), 1 << 20)


def whole(seed: int, stop: list[str]) -> tuple[str, str]:
    made = sequence(seed, stop)
    while made.finish is None:
        made.advance()
    return made.take()[0], made.finish.stop_text


@pytest.mark.parametrize("seed", range(6))
def test_text_taken_token_by_token_is_the_text_taken_at_once(seed: int) -> None:
    text, _ = whole(seed, [])
    stop = [text[9_000:9_013], text[12_000:12_003]]  # across tokens, and deep inside

    made, pieces = sequence(seed, stop), []
    while made.finish is None:
        made.advance()
        pieces.append(made.take()[0])

    assert ("".join(pieces), made.finish.stop_text) == whole(seed, stop)
    assert made.finish.stop_text


def test_a_sequence_holds_little_of_what_was_taken() -> None:
    made = sequence(1, ["never to be seen"])
    while made.finish is None:
        made.advance()
        made.take()
        assert len(made._text) < 100
