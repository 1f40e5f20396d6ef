"""What becomes of calls whose callers leave at an odd moment."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock

import grpc
import pytest

from penstock_service.wire import end_with


async def test_a_status_for_a_caller_who_has_just_left_is_a_cancellation_which_grpc_does_not_log_as_an_error() -> None:
    context = AsyncMock()
    context.abort_with_status.side_effect = grpc.aio.InternalError("a batch failed")
    status: Any = object()

    with pytest.raises(asyncio.CancelledError):
        await end_with(status, context)

    context.abort_with_status.assert_awaited_once_with(status)
