"""What the caller's headers do."""

import asyncio
import re

import httpx
import pytest

from tests.gateway.running_gateway import serve_gateway
from tests.gateway.scripted_upstream import Script, ScriptedUpstream

TEXT = {"prompt": "Hi"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_the_callers_request_id_goes_all_the_way_and_back(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    reply = await http.post("/v1/completions", json=TEXT, headers={"x-request-id": "order:17/a=b+c-d._"})

    assert reply.headers["x-request-id"] == "order:17/a=b+c-d._"
    assert upstream.requests[0].request_id == "order:17/a=b+c-d._"


@pytest.mark.parametrize("given", [None, "", "with space", "x" * 129, "sem;colon", "\u00e9"])
async def test_a_request_id_that_would_be_refused_is_replaced(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, given: str | None
) -> None:
    reply = await http.post(
        "/v1/completions", json=TEXT, headers=None if given is None else [(b"x-request-id", given.encode())]
    )

    assert reply.status_code == 200
    assert re.fullmatch(r"[A-Za-z0-9-]{16,64}", reply.headers["x-request-id"])
    assert upstream.requests[0].request_id == reply.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/models", 200), ("GET", "/health", 200), ("GET", "/nothing", 404), ("PUT", "/v1/completions", 405)],
)
async def test_every_reply_has_a_request_id(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, method: str, path: str, status: int
) -> None:
    reply = await http.request(method, path, headers={"x-request-id": "mine"})

    assert (reply.status_code, reply.headers["x-request-id"]) == (status, "mine")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_trace_context_is_passed_on(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, stream: bool
) -> None:
    headers = {"traceparent": TRACE, "tracestate": "a=b", "authorization": "Bearer secret", "cookie": "c=d"}

    await http.post("/v1/completions", json=TEXT | {"stream": stream}, headers=headers)

    seen = upstream.metadata[0]
    assert (seen["traceparent"], seen["tracestate"]) == (TRACE, "a=b")
    assert "authorization" not in seen
    assert "cookie" not in seen


async def test_a_header_that_grpc_cannot_carry_is_left_out(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    reply = await http.post("/v1/completions", json=TEXT, headers=[(b"tracestate", "a=\u00e9".encode())])

    assert reply.status_code == 200
    assert "tracestate" not in upstream.metadata[0]


@pytest.mark.parametrize("key", [None, "Bearer EMPTY", "Bearer sk-123", "Basic Zm9v", "nonsense"])
async def test_any_key_is_accepted(http: httpx.AsyncClient, upstream: ScriptedUpstream, key: str | None) -> None:
    reply = await http.post("/v1/completions", json=TEXT, headers={"authorization": key} if key else {})

    assert reply.status_code == 200


async def test_a_callers_read_timeout_is_its_deadline(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    await http.post("/v1/completions", json=TEXT, headers={"x-stainless-read-timeout": "60.5"})

    assert upstream.time_remaining[0] == pytest.approx(60.5, abs=2)  # gRPC rounds deadlines up


@pytest.mark.parametrize("given", [None, "soon", "-1", "0", "nan", "inf", "1e999", "1e9"])
async def test_without_a_sensible_timeout_there_is_no_deadline(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, given: str | None
) -> None:
    headers = {} if given is None else {"x-stainless-read-timeout": given}

    reply = await http.post("/v1/completions", json=TEXT, headers=headers)

    assert reply.status_code == 200
    assert upstream.time_remaining[0] is None


async def test_a_read_timeout_says_nothing_about_how_long_a_stream_may_take(
    http: httpx.AsyncClient, upstream: ScriptedUpstream
) -> None:
    """It is the longest silence between two pieces, not the length of the stream."""
    await http.post("/v1/completions", json=TEXT | {"stream": True}, headers={"x-stainless-read-timeout": "5"})

    assert upstream.time_remaining[0] is None


@pytest.mark.parametrize("stream", [False, True])
async def test_the_operators_deadline_and_cap(
    upstream: ScriptedUpstream, upstream_server: tuple[str, ScriptedUpstream], stream: bool
) -> None:
    limits = {"timeout_seconds": 50, "max_timeout_seconds": 100}
    async with (
        serve_gateway(upstream=upstream_server[0], **limits) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        await http.post("/v1/completions", json=TEXT | {"stream": stream})
        await http.post("/v1/completions", json=TEXT, headers={"x-stainless-read-timeout": "600"})

    assert upstream.time_remaining == [pytest.approx(50, abs=2), pytest.approx(100, abs=2)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_past_its_deadline_is_a_504_that_is_not_retried(
    upstream: ScriptedUpstream, upstream_server: tuple[str, ScriptedUpstream], stream: bool
) -> None:
    upstream.script = Script(hold=True)
    async with (
        serve_gateway(upstream=upstream_server[0], max_timeout_seconds=0.05) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        reply = await http.post("/v1/completions", json=TEXT | {"stream": stream})
        async with asyncio.timeout(10):
            await upstream.cancelled.wait()

    assert reply.status_code == 504
    assert reply.headers["x-should-retry"] == "false"


async def test_web_pages_may_call_only_where_the_operator_said_so(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, upstream_server: tuple[str, ScriptedUpstream]
) -> None:
    ask = {
        "origin": "http://a.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }
    closed = await http.options("/v1/completions", headers=ask)
    async with (
        serve_gateway(upstream=upstream_server[0], cors_origin=("http://a.example", "http://b.example")) as url,
        httpx.AsyncClient(base_url=url) as open_http,
    ):
        opened = await open_http.options("/v1/completions", headers=ask)
        called = await open_http.post("/v1/completions", json=TEXT, headers={"origin": "http://b.example"})
        foreign = await open_http.post("/v1/completions", json=TEXT, headers={"origin": "http://c.example"})

    assert "access-control-allow-origin" not in closed.headers
    assert opened.status_code == 200
    assert opened.headers["access-control-allow-origin"] == "http://a.example"
    assert "x-stainless-lang" in opened.headers["access-control-allow-headers"].lower()
    assert called.headers["access-control-allow-origin"] == "http://b.example"
    assert "x-request-id" in called.headers["access-control-expose-headers"].lower()
    assert "access-control-allow-origin" not in foreign.headers
