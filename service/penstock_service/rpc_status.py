"""The status of a part of a call, such as one of its inputs, as the contract's messages carry it."""

from penstock.v1.mirrors_pb2 import RpcStatus
from penstock_service.errors import ServiceError


def rpc_status(error: ServiceError) -> RpcStatus:
    """What `error` tells its caller.

    The same message as google.rpc.Status by another name (mirrors.proto), so that the thin client needs no other
    package to read it.
    """
    return RpcStatus.FromString(error.status().SerializeToString())
