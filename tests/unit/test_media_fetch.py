"""Fetching media: from permitted hosts and public addresses, within limits, and nothing else is told."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if not find_spec("vllm"):
    pytest.skip("vLLM is not installed here: `make test` installs it", allow_module_level=True)

from aiohttp import web
from aiohttp.abc import AbstractResolver
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.vllm.media import Media
from penstock_service.engine.vllm.media_fetch import MediaFetcher
from penstock_service.errors import InvalidRequest
from penstock_service.limit_table import MOST_IMAGE_BYTES
from penstock_service.media_addresses import is_public
from penstock_service.media_limits import MediaRefused

HOST = "images.test"
UNREACHABLE = "cannot be fetched from its host"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Resolver(AbstractResolver):
    """Answers every name with the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


class Server:
    """An https server on loopback and what it was asked."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        self.port = port
        self.tls = tls
        self.asked: list[web.Request] = []

    def url(self, path: str = "/a.png", host: str = HOST) -> str:
        return f"https://{host}:{self.port}{path}"

    def fetcher(self, *addresses: str, **changes: Any) -> MediaFetcher:
        """One that finds the server, if it may."""
        options = {
            "resolver": lambda: Resolver(*(addresses or ("127.0.0.1",))),
            "permitted": lambda _: True,
            "tls": self.tls,
            **changes,
        }
        return MediaFetcher([f"{HOST}:{self.port}", f"other.test:{self.port}"], **options)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for HOST with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(made.public_bytes(pem) + secret)
    return path


@asynccontextmanager
async def serving(certificate: Path, handler: Handler) -> AsyncIterator[Server]:
    trusted = ssl.create_default_context(cafile=str(certificate))
    server = Server(0, trusted)

    async def handle(request: Any) -> web.StreamResponse:
        server.asked.append(request)
        return await handler(request)

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()


async def file(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"the file")


async def refusal(fetcher: MediaFetcher, url: str) -> str:
    with pytest.raises(MediaRefused) as refused:
        await fetcher.fetch(url)
    return str(refused.value)


async def test_a_file_of_a_permitted_host_is_fetched(certificate: Path) -> None:
    async with serving(certificate, file) as server:
        assert await server.fetcher().fetch(server.url()) == b"the file"

    (asked,) = server.asked
    assert asked.headers["Accept-Encoding"] == "identity"
    assert "Cookie" not in asked.headers
    assert "Authorization" not in asked.headers


@pytest.mark.parametrize(
    "addresses",
    [("127.0.0.1",), ("::1",), ("::ffff:127.0.0.1",), ("10.0.0.1",), ("169.254.169.254",), ("8.8.8.8", "127.0.0.1")],
)
async def test_a_name_that_means_a_private_address_is_not_asked(certificate: Path, addresses: tuple[str, ...]) -> None:
    async with serving(certificate, file) as server:
        said = await refusal(server.fetcher(*addresses, permitted=is_public), server.url())

    assert said == UNREACHABLE
    assert server.asked == []


async def test_loopback_is_refused_by_default(certificate: Path) -> None:
    async with serving(certificate, file) as server:
        fetcher = MediaFetcher([f"localhost:{server.port}"], tls=server.tls)
        assert await refusal(fetcher, server.url(host="localhost")) == UNREACHABLE

    assert server.asked == []


async def test_the_address_that_was_checked_is_the_one_that_is_asked(certificate: Path) -> None:
    """A name that means another address when it is asked a second time."""
    answers = iter(["127.0.0.1", "127.0.0.2", "127.0.0.3"])

    class Rebinding(Resolver):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
            self._addresses = (next(answers),)
            return await super().resolve(host, port, family)

    checked: list[str] = []

    def permitted(address: str) -> bool:
        checked.append(address)
        return True

    async with serving(certificate, file) as server:
        fetcher = server.fetcher(resolver=Rebinding, permitted=permitted)
        await fetcher.fetch(server.url())

        (asked,) = server.asked
        assert asked.url.host == HOST
    assert checked == ["127.0.0.1"]


async def test_other_hosts_are_refused_before_their_names_are_looked_up(certificate: Path) -> None:
    class Failing(Resolver):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
            pytest.fail("it was looked up")

    fetcher = MediaFetcher([HOST], resolver=Failing)

    assert "host that the server's operator permits" in await refusal(fetcher, "https://evil.test/a.png")
    assert "https URL" in await refusal(fetcher, f"http://{HOST}/a.png")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(certificate: Path, status: int) -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "/b.png" if request.path == "/a.png" else "/"})

    async with serving(certificate, elsewhere) as server:
        said = await refusal(server.fetcher(), server.url())

    assert said == f"must be answered with status 200 (redirects are not followed), got {status}"
    assert [asked.path for asked in server.asked] == ["/a.png"]


@pytest.mark.parametrize("tells_length", [True, False])
async def test_no_more_is_read_than_a_file_may_have(certificate: Path, tells_length: bool) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse(headers={"Content-Length": str(1 << 40)} if tells_length else {})
        await answer.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await answer.write(bytes(1 << 16))
            sent += 1 << 16
            await asyncio.sleep(0)  # a write need not wait, and the end of the connection has to be heard
        return answer

    async with serving(certificate, endless) as server:
        assert await refusal(server.fetcher(), server.url()) == f"must be a file of at most {MOST_IMAGE_BYTES} bytes"

    assert sent < 4 * MOST_IMAGE_BYTES


async def test_a_file_as_large_as_it_may_be_is_fetched_and_an_empty_one_is_not(certificate: Path) -> None:
    async def of_size(request: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes(int(request.path[1:])))

    async with serving(certificate, of_size) as server:
        assert len(await server.fetcher().fetch(server.url(f"/{MOST_IMAGE_BYTES}"))) == MOST_IMAGE_BYTES
        assert "at most" in await refusal(server.fetcher(), server.url(f"/{MOST_IMAGE_BYTES + 1}"))
        assert "at least 1 bytes" in await refusal(server.fetcher(), server.url("/0"))


async def test_what_is_packed_is_not_unpacked(certificate: Path) -> None:
    async def packed(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"\x1f\x8b not really", headers={"Content-Encoding": "gzip"})

    async with serving(certificate, packed) as server:
        assert await server.fetcher().fetch(server.url()) == b"\x1f\x8b not really"


async def test_a_slow_host_is_left(certificate: Path) -> None:
    over = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"a little")
        await over.wait()
        return answer

    async with serving(certificate, slow) as server:
        said = await refusal(server.fetcher(most_seconds=0.2), server.url())
        over.set()

    assert said == "must come within 0.2 seconds"


async def test_a_certificate_must_be_the_hosts_and_trusted(certificate: Path) -> None:
    async with serving(certificate, file) as server:
        assert await refusal(server.fetcher(), server.url(host="other.test")) == UNREACHABLE
        assert await refusal(server.fetcher(tls=None), server.url()) == UNREACHABLE

    assert server.asked == []


async def test_what_goes_wrong_is_not_told() -> None:
    class Failing(Resolver):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
            raise OSError("db.internal has 10.1.2.3")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    closed = MediaFetcher([f"{HOST}:{port}"], resolver=lambda: Resolver("127.0.0.1"), permitted=lambda _: True)

    assert await refusal(closed, f"https://{HOST}:{port}/") == UNREACHABLE
    assert await refusal(MediaFetcher([HOST], resolver=Failing), f"https://{HOST}/") == UNREACHABLE


async def test_a_conversations_urls_are_fetched_and_what_is_wrong_is_told_by_its_field(certificate: Path) -> None:
    async with serving(certificate, file) as server:
        content = [{"image": {"url": server.url()}}, {"audio": {"url": "https://evil.test/"}}]
        sent = pb.Conversation(messages=[{"role": pb.ROLE_USER, "content": content}])
        with pytest.raises(InvalidRequest) as refused:
            async with Media(server.fetcher()).decoded(sent):
                pytest.fail("it was taken")
        assert [violation.field for violation in refused.value.violations] == [
            "conversation.messages[0].content[1].audio.url"
        ]

        sent.messages[0].content.pop()
        with pytest.raises(InvalidRequest) as refused:
            async with Media(server.fetcher()).decoded(sent):
                pytest.fail("it was taken")

    assert "content[0].image.url: must be a PNG, JPEG, WebP or GIF file" in str(refused.value)


async def test_what_is_fetched_counts_for_the_size_of_all(certificate: Path) -> None:
    async def large(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes(MOST_IMAGE_BYTES))

    async with serving(certificate, large) as server:
        content = [{"image": {"url": server.url(f"/{number}")}} for number in range(5)]
        with pytest.raises(InvalidRequest, match="of at most 16777216 bytes together, got 20971520"):
            async with Media(server.fetcher()).decoded(
                pb.Conversation(messages=[{"role": pb.ROLE_USER, "content": content}])
            ):
                pytest.fail("it was taken")
