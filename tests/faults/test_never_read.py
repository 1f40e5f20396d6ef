"""Streams that nobody reads cost the server little memory."""

import pytest

from tests.faults.never_read import LIMIT_BYTES, never_read

SERVERS_OWN_BYTES = 10 << 20  # what the first streams cost once, whatever their number; much for so few


@pytest.mark.slow
async def test_forty_streams_that_are_never_read_hold_little() -> None:
    unread = await never_read(40, tokens=4000, seconds=1, beside=4)

    assert unread.growth <= 40 * LIMIT_BYTES + SERVERS_OWN_BYTES
