"""Encrypted connections: whom the client trusts, what it is called, and certificates that are renewed."""

import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization

from penstock.channel import Dialer
from penstock.tls import LOOK_SECONDS, Tls
from tests.client.certificates import Authority
from tests.client.pools import Pool
from tests.client.scripted_server import ScriptedServer
from tests.client.test_client_processes import run

MakePool = Callable[..., Pool]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as running:

        async def start(credentials: grpc.ServerCredentials) -> ScriptedServer:
            server = ScriptedServer()
            await server.start(credentials=credentials)
            running.push_async_callback(server.stop)
            return server

        yield start


@pytest.fixture(params=["sync", "async"])
async def make_pool(request: pytest.FixtureRequest) -> AsyncIterator[MakePool]:
    async with AsyncExitStack() as made:

        def make(target: Any, **options: Any) -> Pool:
            pool = Pool(request.param, target, **options)
            made.push_async_callback(pool.close)
            return pool

        yield make


@pytest.fixture
def llm_test_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = socket.getaddrinfo

    def answer(host: str, port: Any, *args: Any, **options: Any) -> Any:
        return asked("127.0.0.1" if host == "llm.test" else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


async def test_a_server_with_a_certificate_of_the_given_authority_is_trusted(
    make_pool: MakePool, authority: Authority, serve: Callable[..., Any]
) -> None:
    server = await serve(authority.server("localhost"))

    pool = make_pool(f"localhost:{server.port}", tls=Tls(ca=authority.ca))

    assert await pool.ask() == f"localhost:{server.port}"


async def test_a_server_with_a_certificate_of_another_authority_is_not(
    make_pool: MakePool, authority: Authority, serve: Callable[..., Any], tmp_path: Path
) -> None:
    server = await serve(authority.server("localhost"))
    (tmp_path / "other").mkdir()

    pool = make_pool(f"localhost:{server.port}", tls=Tls(ca=Authority(tmp_path / "other").ca))

    assert await pool.ask_any() is None
    assert server.requests == []


async def test_the_addresses_behind_a_name_must_have_a_certificate_for_the_name(
    make_pool: MakePool, authority: Authority, serve: Callable[..., Any], llm_test_is_here: None
) -> None:
    right, wrong = await serve(authority.server("llm.test")), await serve(authority.server("other.test"))
    pools = [make_pool(f"dns:///llm.test:{server.port}", tls=Tls(ca=authority.ca)) for server in (right, wrong)]
    for pool in pools:
        await pool.resolved()

    assert [await pool.ask_any() for pool in pools] == [f"127.0.0.1:{right.port}", None]
    assert wrong.requests == []


async def test_the_name_in_the_certificate_can_be_told(
    make_pool: MakePool, authority: Authority, serve: Callable[..., Any]
) -> None:
    server = await serve(authority.server("llm.test"))

    by_name = make_pool([server.target], tls=Tls(ca=authority.ca, server_name="llm.test"))
    by_address = make_pool([server.target], tls=Tls(ca=authority.ca))

    assert await by_name.ask() == server.target
    assert await by_address.ask_any() is None


@pytest.mark.parametrize("flavour", ["sync", "async"])
async def test_tls_true_trusts_the_roots_of_the_system(
    authority: Authority, serve: Callable[..., Any], flavour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)  # gRPC's own, which goes before
    server = await serve(authority.server("localhost"))
    code = """
import asyncio, os
from penstock import AsyncClient, Client
async def ask():
    async with AsyncClient(os.environ["TARGET"], tls=True) as client:
        return await client.generate("Once", timeout=20)
if os.environ["FLAVOUR"] == "sync":
    print(Client(os.environ["TARGET"], tls=True).generate("Once", timeout=20).text)
else:
    print(asyncio.run(ask()).text)
"""
    environment = {"SSL_CERT_FILE": str(authority.ca), "TARGET": f"localhost:{server.port}", "FLAVOUR": flavour}

    assert await run(code, **environment) == "Hello wörld"


async def test_a_client_with_a_certificate_is_known_by_it(
    make_pool: MakePool, authority: Authority, serve: Callable[..., Any]
) -> None:
    server = await serve(authority.server("localhost", demands_certificate=True))
    target = f"localhost:{server.port}"
    certificate, key = authority.sign("team-a")

    known = make_pool(target, tls=Tls(ca=authority.ca, certificate=certificate, key=key))
    unknown = make_pool(target, tls=Tls(ca=authority.ca))

    assert await known.ask() == target
    assert server.certified_callers == ["team-a"]
    assert await unknown.ask_any() is None


async def test_a_renewed_certificate_is_used_for_new_calls_while_open_ones_go_on(
    make_pool: MakePool, authority: Authority, serve: Callable[..., Any]
) -> None:
    server = await serve(authority.server("localhost", demands_certificate=True))
    certificate, key = authority.sign("old", "client")
    pool = make_pool(f"localhost:{server.port}", tls=Tls(ca=authority.ca, certificate=certificate, key=key))
    server.block_after = 1
    stream = pool.stream()
    await stream.read()
    server.block_after = None

    authority.sign("new", "client")
    pool.now += LOOK_SECONDS
    await pool.ask()
    server.release.set()

    assert server.certified_callers == ["old", "new"]
    assert await stream.rest() == " wörld"
    assert [status.channels for status in pool.statuses()] == [1]


async def test_a_renewed_authority_is_trusted(
    make_pool: MakePool, authority: Authority, serve: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "next").mkdir()
    successor = Authority(tmp_path / "next")
    server = await serve(successor.server("localhost"))
    pool = make_pool(f"localhost:{server.port}", tls=Tls(ca=authority.ca))
    assert await pool.ask_any() is None

    shutil.copy(successor.ca, authority.ca)
    pool.now += LOOK_SECONDS

    assert await pool.ask() == f"localhost:{server.port}"


async def test_a_certificate_whose_key_is_not_there_yet_is_not_used_yet(
    make_pool: MakePool, authority: Authority, serve: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(authority.server("localhost", demands_certificate=True))
    certificate, key = authority.sign("old", "client")
    pool = make_pool(f"localhost:{server.port}", tls=Tls(ca=authority.ca, certificate=certificate, key=key))
    await pool.ask()
    new_certificate, new_key = authority.sign("new")

    shutil.copy(new_certificate, certificate)
    pool.now += LOOK_SECONDS
    await pool.ask()
    shutil.copy(new_key, key)
    pool.now += LOOK_SECONDS
    await pool.ask()

    assert server.certified_callers == ["old", "old", "new"]
    assert "the TLS files changed and cannot be used" in caplog.text


@pytest.mark.parametrize("broken", ["ca", "certificate", "key"])
def test_files_that_cannot_be_used_are_refused_at_once(authority: Authority, tmp_path: Path, broken: str) -> None:
    certificate, key = authority.sign("client")
    files = {"ca": authority.ca, "certificate": certificate, "key": key, broken: tmp_path / "missing.pem"}

    with pytest.raises(ValueError, match=r"tls cannot be used: .*No such file"):
        Dialer(tls=Tls(**files))  # type: ignore[arg-type]
    files[broken].write_text("nothing of use")
    with pytest.raises(ValueError, match="tls cannot be used"):
        Dialer(tls=Tls(**files))  # type: ignore[arg-type]


def test_an_encrypted_key_is_refused_without_asking_for_its_password(authority: Authority) -> None:
    certificate, key = authority.sign("client")
    private_key = serialization.load_pem_private_key(key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"password")
    pem = serialization.Encoding.PEM
    key.write_bytes(private_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption))

    with pytest.raises(ValueError, match="the key is encrypted"):
        Dialer(tls=Tls(ca=authority.ca, certificate=certificate, key=key))


def test_tls_and_credentials_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="tls and credentials exclude each other"):
        Dialer(credentials=grpc.ssl_channel_credentials(), tls=True)


def test_what_a_client_holds_of_its_key_is_not_in_its_repr(authority: Authority) -> None:
    certificate, key = authority.sign("client")

    dialer = Dialer(tls=Tls(ca=authority.ca, certificate=certificate, key=key))

    assert "PRIVATE" not in repr(dialer.security(0.0))
