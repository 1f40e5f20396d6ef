"""Lets in whom the service knows, before a byte of the request is read, and no one else to any method but health.

It stands before every handler, so that a method that is added later is behind it as well.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Self

import grpc
from grpc_status.rpc_status import to_status

from penstock_service.errors import Unauthenticated
from penstock_service.identity import Identity
from penstock_service.refused_calls import RefusedCalls
from penstock_service.tenant import ANONYMOUS, Tenant, caller, identify
from penstock_service.wire import end_with

Context = grpc.aio.ServicerContext[Any, Any]
Metadata = Iterable[tuple[str, str | bytes]]

# Balancers and kubelets have no keys.
_OPEN = "/grpc.health.v1.Health/"
# Ours have 47; others' are seldom longer than twice that.
_MOST_KEY_CHARACTERS = 512
# What a certificate that the handshake has found good says of its owner, in gRPC's words. The common name counts where
# there is nothing else (RFC 6125, 6.4.4): authorities check it less.
_ALTERNATIVE_NAMES, _COMMON_NAME = ("peer_dns", "peer_uri"), "x509_common_name"

_NO_TENANT = "there is no API key, and no certificate of a tenant"

# Whoever holds a key of the admin port.
_ADMIN = Tenant("", manages_models=True)


def presented_key(metadata: Metadata) -> str | None:
    """The key that `authorization: Bearer KEY` has; None without that header. Raises Unauthenticated."""
    given = [value for name, value in metadata if name == "authorization"]
    if not given:
        return None
    if len(given) > 1:
        raise Unauthenticated("there are several authorizations")
    scheme, _, key = str(given[0]).partition(" ")
    if scheme.lower() != "bearer" or not key or len(key) > _MOST_KEY_CHARACTERS:
        raise Unauthenticated("the authorization has no API key")
    return key


class Authentication(grpc.aio.ServerInterceptor):
    """Tells each call's task who its caller is, or refuses the call."""

    def __init__(
        self,
        refused: RefusedCalls,
        required: Callable[[], bool],
        of_key: Callable[[str], Tenant | None],
        certified: Identity | None = None,
    ) -> None:
        self._refused = refused
        self._required = required
        self._of_key = of_key
        self._certified = certified

    @classmethod
    def of_tenants(cls, identity: Identity, refused: RefusedCalls, certificates: bool) -> Self:
        """For the service: callers are tenants, once there are any; `certificates` is whether callers show some."""
        return cls(refused, lambda: identity.required, identity.tenant_of_key, identity if certificates else None)

    @classmethod
    def of_admins(cls, identity: Identity, refused: RefusedCalls, always: bool = True) -> Self:
        """For the admin port: each call needs a key of its own kind, `always` or once there is any."""
        return cls(refused, lambda: always or identity.has_admins, lambda key: _ADMIN if identity.admin(key) else None)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See ServerInterceptor. It runs in the task that answers the call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if method.startswith(_OPEN):
            return handler
        if not self._required():
            identify.set(self._anonymous)
            return handler
        # Never a caller's own text into the log.
        known = method.removeprefix("/") if handler is not None else "unknown"
        try:
            key = presented_key(handler_call_details.invocation_metadata)
            if key is not None:
                _let_in(lambda: _found(self._of_key(key)))
                return handler
            if self._certified is None or not self._certified.by_certificate:
                raise Unauthenticated("there is no API key")
            return _after(partial(self._admit_certified, self._certified, known), handler or _UNKNOWN_METHOD)
        except Unauthenticated as error:
            return self._refusing(known, error)

    def _anonymous(self) -> Tenant:
        """Who called before there was anybody to be: a session outlives that."""
        if self._required():
            raise Unauthenticated("there is no API key")
        return ANONYMOUS

    async def _admit_certified(self, identity: Identity, method: str, context: Context) -> None:
        try:
            names = _certified_names(context)
            _let_in(lambda: _found(identity.tenant_certified(names), _NO_TENANT))
        except Unauthenticated as error:
            await self._refuse(method, error, context)

    def _refusing(self, method: str, error: Unauthenticated) -> Any:
        async def refuse(_: object, context: Context) -> None:
            await self._refuse(method, error, context)

        # Whatever kind the method is: this one begins without reading a message, however large it is.
        return grpc.stream_stream_rpc_method_handler(refuse)

    async def _refuse(self, method: str, error: Unauthenticated, context: Context) -> None:
        self._refused.note(method, context.peer(), error)
        await end_with(to_status(error.status()), context)


def _let_in(find: Callable[[], Tenant]) -> None:
    caller.set(find())
    identify.set(find)


def _found(tenant: Tenant | None, problem: str = "the API key is not known here") -> Tenant:
    if tenant is None:
        raise Unauthenticated(problem)
    return tenant


def _certified_names(context: Context) -> set[str]:
    told = context.auth_context()
    names = [name for field in _ALTERNATIVE_NAMES for name in told.get(field, ())] or told.get(_COMMON_NAME, ())
    return {name.decode(errors="replace") for name in names}


def _after(admit: Callable[[Context], Awaitable[None]], handler: Any) -> Any:
    """The handler, behind `admit`: only then is what the caller sent made a message."""
    if handler.request_streaming:
        behavior = handler.stream_stream or handler.stream_unary
        deserializer, parse = handler.request_deserializer, _as_it_is
    else:
        behavior = handler.unary_stream or handler.unary_unary
        deserializer, parse = None, handler.request_deserializer or _as_it_is

    async def answering(request: Any, context: Context) -> Any:
        await admit(context)
        return await behavior(parse(request), context)

    async def generating(request: Any, context: Context) -> Any:
        await admit(context)
        async for reply in behavior(parse(request), context):
            yield reply

    admitted = generating if inspect.isasyncgenfunction(behavior) else answering
    kind = _KINDS[handler.request_streaming, handler.response_streaming]
    return kind(admitted, deserializer, handler.response_serializer)


def _as_it_is(request: Any) -> Any:
    return request


async def _unknown(_: object, context: Context) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")  # as gRPC says it


_UNKNOWN_METHOD: Any = grpc.stream_stream_rpc_method_handler(_unknown)

_KINDS: dict[tuple[bool, bool], Any] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
