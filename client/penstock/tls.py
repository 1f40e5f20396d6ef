"""TLS from files, which are read again when they change."""

from __future__ import annotations

import functools
import logging
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from penstock import arguments
from penstock.arguments import ArgumentTypeError, ArgumentValueError

logger = logging.getLogger("penstock")

PathLike = str | os.PathLike[str]

# How often the files are looked at. They change when a certificate is renewed, some time before the old one ends.
LOOK_SECONDS = 1.0

# Where distributions keep their roots, for a Python whose OpenSSL looks elsewhere.
SYSTEM_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS. `tls=True` is the same as `Tls()`: a server with a certificate that the system trusts.

    ca: a PEM file with the roots to trust; None for those of the system.
    certificate, key: PEM files with the client's own certificate chain and its key (mTLS); both or neither.
    server_name: the name that the server's certificate must have; None for the host in the target.

    Files that change are read again: new connections use them, and calls under way end on their old connection. New
    files that cannot be used (a key that is not there yet) are reported in the log `penstock` and tried again.
    """

    ca: PathLike | None = None
    certificate: PathLike | None = None
    key: PathLike | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        for argument in ("ca", "certificate", "key"):
            value = getattr(self, argument)
            if value is not None and not isinstance(value, (str, os.PathLike)):
                raise ArgumentTypeError(f"Tls.{argument}", "the path of a PEM file", value)
        if (self.certificate is None) != (self.key is None):
            raise ArgumentValueError("Tls.certificate", "and Tls.key belong together: give both or neither")
        if self.server_name is not None:
            arguments.text("Tls.server_name", self.server_name)


def tls_argument(tls: Tls | bool | None) -> Tls | None:
    """What the client's `tls=` means; None is plain text."""
    if tls is None or isinstance(tls, Tls):
        return tls
    return Tls() if arguments.flag("tls", tls) else None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Material:
    """What the files of a Tls have in them. Each reading makes another object."""

    roots: bytes | None
    certificate: bytes | None
    key: bytes | None

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.roots, self.key, self.certificate)


class TlsFiles:
    """The files of one Tls. ValueError if they cannot be used from the start."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._seen = _stamps(tls)
        self._look_again = 0.0
        try:
            self._material = _read(tls)
        except (OSError, ssl.SSLError) as error:
            raise ArgumentValueError("tls", f"cannot be used: {error}") from error

    def material(self, now: float) -> Material:
        """What the files have in them, as of at most LOOK_SECONDS before `now`: the same object until they change."""
        if now >= self._look_again:
            self._look_again = now + LOOK_SECONDS
            stamps = _stamps(self._tls)
            if stamps != self._seen:
                self._read_again(stamps)
        return self._material

    def _read_again(self, stamps: object) -> None:
        try:
            material = _read(self._tls)
        except (OSError, ssl.SSLError) as error:
            logger.warning("the TLS files changed and cannot be used; the old ones stay in use: %s", error)
            return
        if _stamps(self._tls) == stamps:
            self._material, self._seen = material, stamps
        else:  # one of them changed meanwhile: they may not belong together, or be half new
            self._look_again = 0.0


def _stamps(tls: Tls) -> object:
    return [_stamp(path) for path in (tls.ca, tls.certificate, tls.key) if path is not None]


def _stamp(path: PathLike) -> object:
    try:
        status = os.stat(path)  # follows the links by which Kubernetes swaps the files of a secret
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(tls: Tls) -> Material:
    """Check with OpenSSL first: gRPC would log a complaint and fail each call with another message."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    roots = system_roots() if tls.ca is None else Path(tls.ca).read_bytes()
    if tls.ca is not None:
        context.load_verify_locations(cafile=tls.ca)
    if tls.certificate is None or tls.key is None:
        return Material(roots, None, None)
    context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
    return Material(roots, Path(tls.certificate).read_bytes(), Path(tls.key).read_bytes())


def _no_password() -> str:
    """Without it OpenSSL asks the terminal."""
    raise ssl.SSLError("the key is encrypted, which gRPC cannot read")


@functools.cache
def system_roots() -> bytes | None:
    """The system's roots as PEM. None, for those that gRPC brings along, if there are none or gRPC is told others."""
    if "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" in os.environ:
        return None
    roots = ssl.create_default_context().get_ca_certs(binary_form=True)
    if roots:
        return "".join(map(ssl.DER_cert_to_PEM_cert, roots)).encode()
    return next((Path(path).read_bytes() for path in SYSTEM_ROOTS if os.path.exists(path)), None)
