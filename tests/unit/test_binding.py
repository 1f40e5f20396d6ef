"""Beyond this machine the service opens no port in the clear, unless it is told to."""

import socket
from typing import Any

import pytest

from penstock_service.binding import beyond_loopback
from penstock_service.configuration import ConfigurationError
from penstock_service.settings import settings_from

NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "inside.test": ["127.0.0.2"],
    "outside.test": ["192.0.2.1"],
    "both.test": ["127.0.0.1", "192.0.2.1"],
}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: str, *_: Any, **__: Any) -> list[Any]:
        if name not in NAMES:
            raise socket.gaierror
        return [(None, None, None, "", (address, 0)) for address in NAMES[name]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "inside.test"])
def test_on_loopback_nothing_more_is_needed(host: str) -> None:
    assert not beyond_loopback(host)
    assert settings_from(["--host", host]).host == host


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104
        "::",
        "192.0.2.1",
        "2001:db8::1",
        "::ffff:192.0.2.1",
        "outside.test",
        "both.test",
        "nobody.test",
        "*",
        "",
    ],
)
def test_beyond_it_a_certificate_or_a_word_is(host: str) -> None:
    assert beyond_loopback(host)
    if not host:
        return

    with pytest.raises(ConfigurationError, match=r"host is .* give tls_certificate and tls_key, or insecure"):
        settings_from(["--host", host])
    assert settings_from(["--host", host, "--insecure"]).insecure
    files = ["--tls-certificate", __file__, "--tls-key", __file__]
    assert not settings_from(["--host", host, *files]).insecure


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--tls-certificate"], "tls_certificate is given without tls_key"),
        (["--tls-key"], "tls_key is given without tls_certificate"),
        (["--tls-client-ca"], "tls_client_ca is given without tls_certificate and tls_key"),
        (["--tls-key", "--tls-client-ca"], "tls_key is given without tls_certificate"),
    ],
)
def test_half_of_what_tls_needs_is_named(given: list[str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        settings_from([word for flag in given for word in (flag, __file__)])
