"""Reads what a failed call says, with Google's own messages: an independent check of what the service sends."""

import contextlib
from dataclasses import dataclass, field

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from penstock.v1.mirrors_pb2 import RpcStatus

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass
class Failure:
    """A failed call as its caller sees it."""

    code: grpc.StatusCode
    text: str
    reason: str = ""
    domain: str = ""
    fields: list[str] = field(default_factory=list)
    retry_after: float | None = None


async def failure_of(call: grpc.aio.Call) -> Failure:
    """Wait for the end of `call`, which must fail with a consistent rich status. What a stream sends before is read."""
    if isinstance(call, grpc.aio.UnaryStreamCall | grpc.aio.StreamStreamCall):
        with contextlib.suppress(grpc.RpcError):
            while await call.read() is not grpc.aio.EOF:
                pass
    failure = Failure(await call.code(), await call.details())
    assert failure.code is not grpc.StatusCode.OK
    status = rpc_status.from_call(_Ended(failure, await call.trailing_metadata()))
    for detail in status.details if status else ():
        _read(detail, failure)
    return failure


def failure_in(given: RpcStatus) -> Failure:
    """What the status of a part of a call says, such as that of one input."""
    assert given.code
    status = status_pb2.Status.FromString(given.SerializeToString())
    failure = Failure(_CODES[status.code], status.message)
    for detail in status.details:
        _read(detail, failure)
    return failure


def _read(detail: object, failure: Failure) -> None:
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    if detail.Unpack(info):
        failure.reason, failure.domain = info.reason, info.domain
    elif detail.Unpack(bad):
        failure.fields = [violation.field for violation in bad.field_violations]
    elif detail.Unpack(retry):
        failure.retry_after = retry.retry_delay.ToTimedelta().total_seconds()


@dataclass
class _Ended:
    """What grpc_status reads, which knows only the synchronous call."""

    failure: Failure
    metadata: object

    def trailing_metadata(self) -> object:
        return self.metadata

    def code(self) -> grpc.StatusCode:
        return self.failure.code

    def details(self) -> str:
        return self.failure.text
