"""Server reflection that also finds methods.

Clients such as ghz ask which file has the symbol `penstock.v1.Generation.Generate`. Python's descriptor pool knows
messages, enums and services by name, but no methods; other languages' pools do.
"""

from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection

SERVICE_NAME: str = reflection.SERVICE_NAME


class _PoolWithMethods:
    """The default descriptor pool, and in it a method is where its service is."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = self._pool.FindServiceByName(service)
            found.methods_by_name[method]
            return found.file


def enable(server: Any, *services: str) -> None:
    """Offer reflection of `services`, itself included, on `server`."""
    reflection.enable_server_reflection((*services, SERVICE_NAME), server, pool=_PoolWithMethods())
