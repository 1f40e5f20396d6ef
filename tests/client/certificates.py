"""An authority of our own, and what it signs, as PEM files."""

from __future__ import annotations

import datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey


class Authority:
    """Signs certificates; its own is at `ca`."""

    def __init__(self, directory: Path, name: str = "an authority for tests") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.ca = directory / "ca.pem"
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._unsigned(self._name, self._key).add_extension(constraints, critical=True)
        self.ca.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def sign(
        self, name: str, file: str = "", alternative: x509.GeneralName | None = None, days: float = 1
    ) -> tuple[Path, Path]:
        """A certificate for that name and its key, in `file`.pem and `file`.key (by default those of the name).

        `alternative` is its subjectAltName if that is not the name; it is valid for `days`, or not any more.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([alternative or x509.DNSName(name)])
        certificate = self._unsigned(_name(name), key, days).add_extension(alternatives, critical=False)
        pem = self._directory / f"{file or name}.pem"
        pem.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        pem.with_suffix(".key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        )
        return pem, pem.with_suffix(".key")

    def server(self, name: str, demands_certificate: bool = False) -> grpc.ServerCredentials:
        """Of a server with that name."""
        pem, key = self.sign(name, f"server {name}")
        return grpc.ssl_server_credentials(
            [(key.read_bytes(), pem.read_bytes())], self.ca.read_bytes(), demands_certificate
        )

    def _unsigned(self, subject: x509.Name, key: PrivateKey, days: float = 1) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=2),
            not_valid_after=now + datetime.timedelta(days=days),
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
