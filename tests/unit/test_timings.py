"""The arithmetic of Timings."""

import pytest

from penstock_service.engine.timings import measured


def test_every_figure_counts_from_the_moment_the_call_was_received() -> None:
    timings = measured(received=100.0, first=100.5, last=102.5, tokens=5, queue_seconds=0.25)

    assert timings.queue_time_ms == 250
    assert timings.time_to_first_token_ms == 500
    assert timings.mean_itl_ms == 500
    assert timings.generation_time_ms == 2500
    assert timings.tokens_per_second == 2


@pytest.mark.parametrize(
    ("first", "last", "tokens", "absent"),
    [
        (1.0, 1.0, 1, {"mean_itl_ms"}),
        (None, 2.0, 5, {"time_to_first_token_ms", "mean_itl_ms"}),
        (None, None, 0, {"time_to_first_token_ms", "mean_itl_ms", "generation_time_ms", "tokens_per_second"}),
    ],
)
def test_what_was_not_measured_is_absent(
    first: float | None, last: float | None, tokens: int, absent: set[str]
) -> None:
    timings = measured(0.0, first, last, tokens, queue_seconds=None)

    assert {name for name in absent if timings.HasField(name)} == set()
    assert not timings.HasField("queue_time_ms")
