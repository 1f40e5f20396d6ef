"""TLS for the service's port, from PEM files that are read again when they change.

gRPC's own least version is 1.2. It asks for the certificate at each handshake, in threads of its own.
"""

import ssl
from pathlib import Path
from typing import NamedTuple

import grpc

from penstock_service.configuration import ConfigurationError
from penstock_service.settings import Settings
from penstock_service.watched_files import WatchedFiles


class _Files(NamedTuple):
    certificate: Path
    key: Path
    client_ca: Path | None

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Check with OpenSSL first: gRPC would tell each caller, and only its own log why."""
        try:
            pair = (self.key.read_bytes(), self.certificate.read_bytes())
            roots = self.client_ca.read_bytes() if self.client_ca is not None else None
            self._check()
        except OSError as error:  # ssl.SSLError is one
            raise ConfigurationError(f"{self._names()}: {error.strerror or error}") from error
        return grpc.ssl_server_certificate_configuration([pair], roots)

    def _check(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key, password=_no_password)
        if self.client_ca is not None:
            context.load_verify_locations(cafile=self.client_ca)
            if not context.get_ca_certs():
                raise ssl.SSLError("tls_client_ca has no authority's certificate in it")

    def _names(self) -> str:
        return "tls_certificate, tls_key" + (", tls_client_ca" if self.client_ca is not None else "")


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """What the service's port is opened with; None for plain text. Raises ConfigurationError for files of no use."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    files = _Files(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    watched = WatchedFiles("the TLS certificate", filter(None, files), files.read)
    return grpc.dynamic_ssl_server_credentials(
        watched.current(), watched.current, require_client_authentication=files.client_ca is not None
    )


def _no_password() -> str:
    """Without it OpenSSL asks the terminal."""
    raise ssl.SSLError("the key is encrypted, which gRPC cannot read")
