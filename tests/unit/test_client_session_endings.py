"""What the calls of a session come to when the session itself ends."""

import grpc
import pytest

from penstock import APIConnectionError, RequestCancelled
from penstock.sessions.endings import session_failed


def failed(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "why")


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE])
def test_calls_of_a_session_that_a_server_cuts_have_lost_their_connection(code: grpc.StatusCode) -> None:
    error = session_failed(failed(code))("request")

    assert isinstance(error, APIConnectionError)
    assert not isinstance(error, RequestCancelled)
    assert error.status is grpc.StatusCode.UNAVAILABLE
