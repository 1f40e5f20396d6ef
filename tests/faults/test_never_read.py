"""Streams that nobody reads cost the server little memory."""

import pytest

from tests.faults.never_read import never_read

HELD_BYTES = 4096
# What the first streams cost once, whatever their number, and what gRPC holds: much for so few.
BESIDES_BYTES = 10 << 20


@pytest.mark.slow
async def test_forty_streams_that_are_never_read_hold_little_and_end_as_slow_readers() -> None:
    patient = ("--max-stall-seconds", "3600", "--max-held-bytes", str(HELD_BYTES))

    unread = await never_read(40, 1 << 20, 60, *patient, beside=4, step_ms=2)

    assert unread.ended_slow == 40
    assert unread.growth <= 40 * HELD_BYTES + BESIDES_BYTES
