"""Channels: how they are made. Who has one is decided by penstock.endpoints."""

from __future__ import annotations

import grpc
import grpc.aio

from penstock.arguments import ArgumentValueError
from penstock.channel_options import OptionOverrides, channel_options, identity_options, proxy_options
from penstock.endpoints.targets import Address
from penstock.tls import Material, Tls, TlsFiles, tls_argument

# After so long without a call a channel beyond an endpoint's first lets its connection go.
EXTRA_IDLE_MS = 60_000

Security = Material | grpc.ChannelCredentials | None
"""What a channel's credentials are made from; None is plain text."""


class Dialer:
    """Makes the channels of one client. Safe to make before a fork: it makes nothing of gRPC's before it is asked."""

    def __init__(
        self,
        credentials: grpc.ChannelCredentials | None = None,
        tls: Tls | bool | None = None,
        overrides: OptionOverrides | None = None,
        proxy: str | None = None,
    ) -> None:
        self._tls = tls_argument(tls)
        if self._tls is not None and credentials is not None:
            raise ArgumentValueError("tls", "and credentials exclude each other")
        self._files = None if self._tls is None else TlsFiles(self._tls)
        self._credentials = credentials
        self._overrides = dict(overrides or ())
        self._proxy = proxy_options(proxy)

    def security(self, now: float) -> Security:
        """That of new channels; another object once the TLS files have changed."""
        return self._credentials if self._files is None else self._files.material(now)

    def channel(self, address: Address, security: Security, extra: bool) -> grpc.Channel:
        options = self._options(address, security, extra)
        if security is None:
            return grpc.insecure_channel(address.target, options)
        return grpc.secure_channel(address.target, _credentials(security), options)

    def aio_channel(self, address: Address, security: Security, extra: bool) -> grpc.aio.Channel:
        options = self._options(address, security, extra)
        if security is None:
            return grpc.aio.insecure_channel(address.target, options)
        return grpc.aio.secure_channel(address.target, _credentials(security), options)

    def _options(self, address: Address, security: Security, extra: bool) -> list[tuple[str, int | str]]:
        authority, certified_name = address.authority, None if security is None else address.certified_name
        if self._tls is not None and self._tls.server_name is not None:
            # gRPC refuses an :authority that the certificate does not have.
            authority, certified_name = None, self._tls.server_name
        own = [*self._proxy, *identity_options(authority, certified_name)]
        if extra:
            own.append(("grpc.client_idle_timeout_ms", EXTRA_IDLE_MS))
        return channel_options(self._overrides, own)


def _credentials(security: Material | grpc.ChannelCredentials) -> grpc.ChannelCredentials:
    return security.credentials() if isinstance(security, Material) else security
