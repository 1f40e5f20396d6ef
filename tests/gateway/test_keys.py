"""API keys through the gateway: to a service that knows its tenants, and to one that knows none."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import openai
import pytest
from structlog.testing import capture_logs

from tests.client.certificates import Authority
from tests.conftest import OpenService, Running, eventually
from tests.gateway.running_gateway import serve_gateway
from tests.gateway.scripted_upstream import Failure, Script, ScriptedUpstream
from tests.rpc.identities import KEY, OTHER_KEY, two_tenants, write_identity

ROUTES = [
    ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}),
    (
        "POST",
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "stream": True},
    ),
    ("POST", "/v1/completions", {"prompt": "Hi", "max_tokens": 4}),
    ("POST", "/v1/embeddings", {"input": "Hi"}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/builtin", None),
    ("POST", "/api/chat", {"model": "builtin", "messages": [{"role": "user", "content": "Hi"}]}),
    ("POST", "/api/embed", {"model": "builtin", "input": "Hi"}),
]


@pytest.fixture
async def guarded(open_service: OpenService, tmp_path: Path) -> Running:
    """A service with two tenants."""
    return await open_service(identity_file=two_tenants(tmp_path / "identity.toml"))


@pytest.fixture
async def keyed(guarded: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway before it that forwards keys."""
    async with serve_gateway(upstream=guarded.address, forward_keys=True) as url:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield client


@pytest.mark.parametrize("authorization", [None, "Bearer psk_wrong", "Basic dXNlcjpwYXNz", "Bearer k\u00e9y"])
async def test_no_route_answers_who_has_no_key_of_the_services(
    keyed: httpx.AsyncClient, authorization: str | None
) -> None:
    headers = [(b"authorization", authorization.encode())] if authorization else []

    for method, path, body in ROUTES:
        reply = await keyed.request(method, path, json=body, headers=headers)

        assert reply.status_code == 401, path
        assert "psk_wrong" not in reply.text
        if path.startswith("/v1/"):
            error = reply.json()["error"]
            assert (error["type"], error["code"]) == ("authentication_error", "unauthenticated")
            assert reply.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("framing", [f"content-length: {1 << 20}", "transfer-encoding: chunked"])
async def test_who_has_no_key_is_refused_before_the_body_has_come(keyed: httpx.AsyncClient, framing: str) -> None:
    for path in (path for method, path, _ in ROUTES if method == "POST"):
        reader, writer = await asyncio.open_connection(keyed.base_url.host, keyed.base_url.port)
        writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n".encode())
        async with asyncio.timeout(10):
            status_line = await reader.readline()
        writer.close()

        assert status_line.split()[1] == b"401", path


async def test_every_route_takes_a_key_of_the_services(keyed: httpx.AsyncClient) -> None:
    for method, path, body in ROUTES:
        reply = await keyed.request(method, path, json=body, headers={"authorization": f"Bearer {KEY}"})

        # The simulated engine makes no vectors.
        assert reply.status_code == (400 if "embed" in path else 200), path


async def test_health_is_told_without_a_key(keyed: httpx.AsyncClient) -> None:
    assert (await keyed.get("/health")).status_code == 200


async def test_the_service_sees_each_callers_own_tenant(keyed: httpx.AsyncClient) -> None:
    tenants = []
    for key in (KEY, OTHER_KEY):
        ai = openai.AsyncOpenAI(base_url=f"{keyed.base_url}/v1", api_key=key, max_retries=0)
        async with ai:
            with capture_logs() as lines:
                await ai.completions.create(model="builtin", prompt="Hi", max_tokens=4)
                await eventually(lambda lines=lines: any(line["event"] == "call" for line in lines))  # type: ignore[misc]
        tenants += [line["tenant"] for line in lines if line["event"] == "call"]
        assert "psk_" not in str(lines)

    assert tenants == ["first", "second"]


async def test_openais_client_raises_its_own_errors(keyed: httpx.AsyncClient) -> None:
    async with openai.AsyncOpenAI(base_url=f"{keyed.base_url}/v1", api_key="psk_wrong", max_retries=0) as ai:
        with pytest.raises(openai.AuthenticationError):
            await ai.models.list()


@pytest.mark.parametrize(
    ("failure", "status", "kind", "headers"),
    [
        (
            Failure(grpc.StatusCode.PERMISSION_DENIED, reason="PERMISSION_DENIED"),
            *(403, "permission_error", {"x-should-retry": "false"}),
        ),
        (
            Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="QUOTA", retry_delay_ms=1500),
            *(429, "rate_limit_error", {"retry-after": "2", "retry-after-ms": "1500"}),
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_tenant_may_not_and_what_it_has_used_up_have_openais_form(
    http: httpx.AsyncClient,
    upstream: ScriptedUpstream,
    failure: Failure,
    status: int,
    kind: str,
    headers: dict[str, str],
    stream: bool,
) -> None:
    upstream.script = Script(failure=failure)

    reply = await http.post("/v1/completions", json={"prompt": "Hi", "stream": stream})

    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)
    assert headers.items() <= reply.headers.items()


async def test_a_service_with_tls_is_dialled_with_it(open_service: OpenService, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("localhost", "server")
    own = authority.sign("gateway")
    running = await open_service(tls_certificate=certificate, tls_key=key, tls_client_ca=authority.ca)
    upstream = f"localhost:{running.service.grpc_port}"
    files = {"upstream_ca": authority.ca, "upstream_certificate": own[0], "upstream_key": own[1]}

    async with serve_gateway(upstream=upstream, **files) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/health")).status_code == 200
        assert (await http.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 4})).status_code == 200
    async with serve_gateway(upstream=upstream) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/health")).status_code == 503


async def test_nobody_calls_in_the_name_of_the_gateways_certificate(open_service: OpenService, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("localhost", "server")
    own = authority.sign("gateway.internal")
    identity = write_identity(
        tmp_path / "identity.toml", {"name": "gateway", "certificate_names": ["gateway.internal"], "keys": [KEY]}
    )
    running = await open_service(
        tls_certificate=certificate, tls_key=key, tls_client_ca=authority.ca, identity_file=identity
    )
    files = {"upstream_ca": authority.ca, "upstream_certificate": own[0], "upstream_key": own[1]}
    upstream = f"localhost:{running.service.grpc_port}"
    useless = [[], *([(b"authorization", text)] for text in (b"", b"Bearer psk_a\xc3\xa9", b"Bearer psk_a\x7f"))]

    async with serve_gateway(upstream=upstream, forward_keys=True, **files) as url:
        async with httpx.AsyncClient(base_url=url) as http:
            for (method, path, body), headers in itertools.product(ROUTES, useless):
                reply = await http.request(method, path, json=body, headers=headers)
                assert reply.status_code == 401, (path, headers)
            with_key = await http.get("/v1/models", headers={"authorization": f"Bearer {KEY}"})

    assert with_key.status_code == 200


def test_files_that_are_no_certificates_stop_the_start(tmp_path: Path) -> None:
    from penstock_gateway.settings import Settings

    (tmp_path / "ca.pem").write_text("no PEM")

    with pytest.raises(ValueError, match="tls cannot be used"):
        Settings(upstream_ca=tmp_path / "ca.pem")
