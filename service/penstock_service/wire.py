"""Bytes to messages. What cannot be read is a bad request like any other: it gets a status of ours, and its log line.

Left alone, grpc.aio answers it with UNKNOWN and the text of a Python exception, and no handler hears of it. And it
waits for the one message of a call for as long as the connection lasts: here all calls are streams to gRPC, which makes
no difference on the wire, and the message is read within a time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from penstock_service.errors import InvalidRequest, Violation

Request = TypeVar("Request")
Behavior = Callable[[Any, Any], Awaitable[Any]]
Reads = Callable[[Any], Awaitable[Any]]  # the message of a call, by its context

MESSAGE_SECONDS = 30.0


class Unreadable:
    """Stands for a request whose bytes are no message of its type, or that has not come."""

    def __init__(self, problem: str = "is not a message of this call's type in valid protobuf and UTF-8") -> None:
        self.problem = problem


def readable(request: Request) -> Request:
    """The request, if there is one. Raises InvalidRequest."""
    if isinstance(request, Unreadable):
        raise InvalidRequest([Violation("request", request.problem)])
    return request


async def message(context: Any, seconds: float | None = None) -> Any:
    """The next message of a call, or what stands for it when it is not there in time."""
    seconds = seconds or MESSAGE_SECONDS
    try:
        async with asyncio.timeout(seconds):
            read = await context.read()
    except TimeoutError:
        return Unreadable(f"has not come within {seconds:g} s")
    return Unreadable("is missing") if read is grpc.aio.EOF else read


async def end_with(status: grpc.Status, context: "grpc.aio.ServicerContext[Any, Any]") -> NoReturn:
    """End a call with a status. The end of one whose caller has just left is no error, as which gRPC would log it."""
    try:
        await context.abort_with_status(status)
    except grpc.aio.InternalError as error:  # the status cannot be sent any more
        raise asyncio.CancelledError from error


def add_service(
    server: grpc.aio.Server,
    service: ServiceDescriptor,
    servicer: object,
    read: Reads = message,
) -> None:
    """Serve the RPCs of `service` with the methods of `servicer` that have their names.

    `read` gives the message of a call that has one; none of it is received before.
    """
    handlers = {method.name: _handler(method, getattr(servicer, method.name), read) for method in service.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _handler(method: MethodDescriptor, behavior: Any, read: Reads) -> Any:
    kind: Any = (
        grpc.stream_stream_rpc_method_handler if method.server_streaming else grpc.stream_unary_rpc_method_handler
    )
    return kind(
        behavior if method.client_streaming else _with_its_message(behavior, read),
        request_deserializer=_lenient(GetMessageClass(method.input_type).FromString),
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )


def _with_its_message(behavior: Behavior, read: Reads) -> Behavior:
    async def reading(_: object, context: Any) -> Any:
        return await behavior(await read(context), context)

    return reading


def _lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parsed(raw: bytes) -> Any:
        try:
            return parse(raw)
        except DecodeError:
            return Unreadable()

    return parsed
