"""Encrypted connections to the service: which versions, whose certificates, and files that are renewed under calls."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from penstock import AsyncClient, Retry
from penstock.tls import Tls
from penstock.v1 import generation_pb2 as pb
from penstock.v1.generation_pb2_grpc import GenerationStub
from penstock_service.configuration import ConfigurationError
from tests.client.certificates import Authority
from tests.conftest import OpenService, Running, eventually, opened, simulated_settings
from tests.rpc.error_details import failure_of
from tests.rpc.identities import KEY, bearer, write_identity

PROMPT = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4})
SPIFFE = "spiffe://cluster.test/search"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server_files(authority: Authority) -> dict[str, Path]:
    """The settings of a service with a certificate for localhost."""
    certificate, key = authority.sign("localhost", "server")
    return {"tls_certificate": certificate, "tls_key": key}


def certificate_seen(port: int, ca: Path, **versions: Any) -> bytes:
    """A handshake: the certificate that the server shows. Raises ssl.SSLError if the server refuses."""
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    for name, version in versions.items():
        setattr(context, name, version)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            seen = secured.getpeercert(binary_form=True)
            assert seen is not None
            return seen


@contextlib.asynccontextmanager
async def dialling(running: Running, authority: Authority, own: tuple[Path, Path] | None = None) -> Any:
    """A stub over an encrypted channel, with a certificate of the caller's own if there is one."""
    certificate, key = (path.read_bytes() for path in own) if own else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), key, certificate)
    target = f"localhost:{running.service.grpc_port}"
    async with grpc.aio.secure_channel(target, credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield GenerationStub(channel)


def replace(files: tuple[Path, Path], new: tuple[Path, Path]) -> None:
    """As tools that renew certificates do it: one file after the other."""
    for old, renewed in zip(files, new, strict=True):
        os.replace(renewed, old)


async def test_calls_are_answered_over_tls_and_not_in_the_clear(
    open_service: OpenService, authority: Authority, server_files: dict[str, Path]
) -> None:
    running = await open_service(**server_files)

    async with AsyncClient(f"localhost:{running.service.grpc_port}", tls=Tls(ca=authority.ca)) as client:
        assert (await client.generate("Hello", max_tokens=4)).usage.completion_tokens == 4
    failure = await failure_of(running.generation.Generate(PROMPT))
    assert failure.code is grpc.StatusCode.UNAVAILABLE


async def test_nothing_older_than_tls_1_2_is_spoken(
    open_service: OpenService, authority: Authority, server_files: dict[str, Path]
) -> None:
    port = (await open_service(**server_files)).service.grpc_port

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        await asyncio.to_thread(certificate_seen, port, authority.ca, minimum_version=version, maximum_version=version)
    # The server hangs up; what this side refuses by itself reads "no protocols available".
    with pytest.raises(ssl.SSLError, match=r"(?i)eof|alert"):
        await asyncio.to_thread(
            certificate_seen,
            port,
            authority.ca,
            minimum_version=ssl.TLSVersion.TLSv1,
            maximum_version=ssl.TLSVersion.TLSv1_1,
        )


async def test_a_renewed_certificate_is_shown_at_the_next_handshake_and_calls_go_on(
    open_service: OpenService, authority: Authority, server_files: dict[str, Path]
) -> None:
    running = await open_service(**server_files, simulated={"step_time_ms": 5})
    port = running.service.grpc_port
    before = await asyncio.to_thread(certificate_seen, port, authority.ca)

    async with dialling(running, authority) as stub:
        call = stub.StreamGenerate(pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 100}))
        await call.read()
        replace((server_files["tls_certificate"], server_files["tls_key"]), authority.sign("localhost", "renewed"))
        after = await asyncio.to_thread(certificate_seen, port, authority.ca)
        assert not call.done()
        while (chunk := await call.read()) is not grpc.aio.EOF:
            last = chunk

    assert before != after
    assert last.usage.completion_tokens == 100


@pytest.mark.parametrize("what", ["another key", "no PEM", "nothing"])
async def test_files_of_no_use_are_told_in_the_log_once_and_the_old_ones_stay(
    open_service: OpenService, authority: Authority, server_files: dict[str, Path], what: str
) -> None:
    port = (await open_service(**server_files)).service.grpc_port
    before = await asyncio.to_thread(certificate_seen, port, authority.ca)

    with capture_logs() as lines:
        if what == "another key":
            os.replace(authority.sign("localhost", "renewed")[1], server_files["tls_key"])
        elif what == "no PEM":
            server_files["tls_certificate"].write_text("no certificate")
        else:
            server_files["tls_key"].unlink()
        seen = [await asyncio.to_thread(certificate_seen, port, authority.ca) for _ in range(3)]

    assert seen == [before] * 3
    (error,) = [line for line in lines if line["log_level"] == "error"]
    assert "tls_certificate, tls_key" in error["error"]


@pytest.mark.parametrize("wrong", ["tls_certificate", "tls_key"])
async def test_a_service_does_not_start_with_files_of_no_use(server_files: dict[str, Path], wrong: str) -> None:
    server_files[wrong].write_text("no PEM")

    with pytest.raises(ConfigurationError, match="tls_certificate, tls_key: "):
        async with opened(simulated_settings(**server_files)):
            pass


@pytest.fixture
def strangers(tmp_path: Path, authority: Authority) -> dict[str, tuple[Path, Path] | None]:
    """Callers whom a service that knows `authority` must refuse."""
    (tmp_path / "other").mkdir()
    return {
        "no certificate": None,
        "an expired one": authority.sign("search", "expired", days=-1),
        "another authority's": Authority(tmp_path / "other").sign("search"),
    }


@pytest.mark.parametrize("stranger", ["no certificate", "an expired one", "another authority's"])
async def test_callers_without_a_good_certificate_get_no_further_than_the_handshake(
    open_service: OpenService,
    authority: Authority,
    server_files: dict[str, Path],
    strangers: dict[str, tuple[Path, Path] | None],
    stranger: str,
) -> None:
    running = await open_service(**server_files, tls_client_ca=authority.ca)
    async with dialling(running, authority, authority.sign("search")) as stub:
        assert (await stub.Generate(PROMPT)).id

    with capture_logs() as lines:
        async with dialling(running, authority, strangers[stranger]) as stub:
            failure = await failure_of(stub.Generate(PROMPT, timeout=10))

    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert not [line for line in lines if line["event"] in ("call", "refused")]


@pytest.fixture
async def certified(
    open_service: OpenService, authority: Authority, server_files: dict[str, Path], tmp_path: Path
) -> Running:
    """A service whose tenants are known by their certificates; `keyed` has a key as well."""
    identity = write_identity(
        tmp_path / "identity.toml",
        {"name": "search", "certificate_names": ["search.test", SPIFFE]},
        {"name": "chat", "certificate_names": ["chat"]},
        {"name": "keyed", "keys": [KEY]},
    )
    return await open_service(**server_files, tls_client_ca=authority.ca, identity_file=identity)


@pytest.mark.parametrize(
    ("name", "alternative", "metadata", "tenant"),
    [
        ("x", x509.DNSName("search.test"), (), "search"),
        ("x", x509.UniformResourceIdentifier(SPIFFE), (), "search"),
        ("chat", x509.RFC822Name("somebody@elsewhere.test"), (), "chat"),
        ("chat", x509.DNSName("elsewhere.test"), bearer(KEY), "keyed"),
        ("x", x509.DNSName("search.test.evil"), (), None),
        ("x", x509.DNSName("SEARCH.TEST"), (), None),
        ("x", x509.RFC822Name("chat"), (), None),
        # The common name is what authorities check least: it counts where there is no other name.
        ("chat", x509.DNSName("elsewhere.test"), (), None),
        ("chat", x509.UniformResourceIdentifier("spiffe://elsewhere.test"), (), None),
        ("chat", x509.DNSName("search.test"), (), "search"),
        ("chat", x509.DNSName("elsewhere.test"), bearer("psk_wrong"), None),
    ],
)
async def test_the_name_in_a_certificate_tells_the_tenant_unless_a_key_does(
    certified: Running, authority: Authority, name: str, alternative: Any, metadata: Any, tenant: str | None
) -> None:
    with capture_logs() as lines:
        async with dialling(certified, authority, authority.sign(name, "caller", alternative)) as stub:
            code = await stub.Generate(PROMPT, metadata=metadata).code()
        await eventually(lambda: any(line["event"] in ("call", "refused") for line in lines))

    told = [line.get("tenant") for line in lines if line["event"] in ("call", "refused")]
    assert told == [tenant]
    assert code is (grpc.StatusCode.OK if tenant else grpc.StatusCode.UNAUTHENTICATED)


@pytest.mark.parametrize("name", ["chat", "stranger"])
async def test_a_certificate_opens_every_kind_of_method_or_none(
    certified: Running, authority: Authority, name: str
) -> None:
    own = authority.sign(name, "caller")

    def codes() -> list[grpc.StatusCode]:
        credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), own[1].read_bytes(), own[0].read_bytes())
        with grpc.secure_channel(f"localhost:{certified.service.grpc_port}", credentials) as channel:
            return [_code(channel, *call) for call in CALLS]

    refused = [grpc.StatusCode.UNAUTHENTICATED] * len(CALLS)
    wrong = [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED]
    assert await asyncio.to_thread(codes) == (refused if name == "stranger" else [*[grpc.StatusCode.OK] * 4, *wrong])


REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
START = pb.SessionRequest(start=pb.StartCall(call=1, request=PROMPT))
CALLS = [
    ("unary_unary", "/penstock.v1.Generation/Generate", PROMPT.SerializeToString()),
    ("unary_stream", "/penstock.v1.Generation/StreamGenerate", PROMPT.SerializeToString()),
    ("stream_stream", "/penstock.v1.Generation/Session", START.SerializeToString()),
    ("stream_stream", REFLECTION, b"\x3a\x00"),  # list_services
    ("unary_unary", "/penstock.v1.Generation/Generate", b"\xff"),
    ("unary_unary", "/penstock.v1.Generation/Nothing", b""),
]


def _code(channel: grpc.Channel, kind: str, method: str, message: bytes) -> grpc.StatusCode:
    try:
        answer = getattr(channel, kind)(method)(iter([message]) if kind == "stream_stream" else message, timeout=10)
        for _ in answer if kind != "unary_unary" else ():
            pass
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _renewals(authority: Authority, server: tuple[Path, Path], own: tuple[Path, Path], ca: Path) -> Iterator[None]:
    """Both ends' certificates anew; then another authority beside the first, its certificates, and it alone."""
    replace(server, authority.sign("localhost", "next-server"))
    yield
    replace(own, authority.sign("search", "next-client"))
    yield
    (ca.parent / "second").mkdir()
    second = Authority(ca.parent / "second", "the authority that follows it")
    ca.write_bytes(authority.ca.read_bytes() + second.ca.read_bytes())
    yield
    replace(own, second.sign("search"))
    yield
    replace(server, second.sign("localhost"))
    yield
    ca.write_bytes(second.ca.read_bytes())
    yield


@pytest.mark.parametrize("sessions", ["always", "never"])
async def test_certificates_are_renewed_at_both_ends_without_a_failed_call(
    open_service: OpenService,
    authority: Authority,
    server_files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sessions: str,
) -> None:
    monkeypatch.setattr("penstock.tls.LOOK_SECONDS", 0.0)  # at every call
    ca = tmp_path / "bundle.pem"
    ca.write_bytes(authority.ca.read_bytes())
    own = authority.sign("search", "client")
    identity = write_identity(tmp_path / "identity.toml", {"name": "search", "certificate_names": ["search"]})
    running = await open_service(**server_files, tls_client_ca=ca, identity_file=identity)
    tls = Tls(ca=ca, certificate=own[0], key=own[1])
    client = AsyncClient(f"localhost:{running.service.grpc_port}", tls=tls, sessions=sessions, retry=Retry(attempts=1))
    done, ends = 0, False

    async def call_on_and_on() -> None:
        nonlocal done
        while not ends:
            assert (await client.generate("Hello", max_tokens=8)).usage.completion_tokens == 8
            done += 1

    async with client, asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(call_on_and_on())
        for _ in _renewals(authority, (server_files["tls_certificate"], server_files["tls_key"]), own, ca):
            seen = done
            await eventually(lambda seen=seen: done > seen + 8, "a call over the new files")  # type: ignore[misc]
        ends = True
