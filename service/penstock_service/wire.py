"""Bytes to messages. What cannot be read is a bad request like any other: it gets a status of ours, and its log line.

Left alone, grpc.aio answers it with UNKNOWN and the text of a Python exception, and no handler hears of it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from penstock_service.errors import InvalidRequest, Violation

Request = TypeVar("Request")


class Unreadable:
    """Stands for a request whose bytes are no message of its type."""


_KINDS: dict[tuple[bool, bool], Any] = {  # whether the caller streams, whether the server streams
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def readable(request: Request) -> Request:
    """The request, if there is one. Raises InvalidRequest."""
    if isinstance(request, Unreadable):
        raise InvalidRequest([Violation("request", "is not a message of this call's type in valid protobuf and UTF-8")])
    return request


def add_service(server: grpc.aio.Server, service: ServiceDescriptor, servicer: object) -> None:
    """Serve the RPCs of `service` with the methods of `servicer` that have their names."""
    handlers = {method.name: _handler(method, getattr(servicer, method.name)) for method in service.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _handler(method: MethodDescriptor, behavior: Any) -> Any:
    return _KINDS[method.client_streaming, method.server_streaming](
        behavior,
        request_deserializer=_lenient(GetMessageClass(method.input_type).FromString),
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )


def _lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parsed(raw: bytes) -> Any:
        try:
            return parse(raw)
        except DecodeError:
            return Unreadable()

    return parsed
