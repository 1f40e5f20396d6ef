"""One line a request, and nothing in it that is not the log's business."""

import asyncio
from collections.abc import Iterator

import grpc
import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.typing import EventDict

from penstock_gateway.errors import HANDLERS
from penstock_gateway.request_log import RequestLog
from tests.gateway.scripted_upstream import MODEL, Failure, Script, ScriptedUpstream

PROMPT = "the-words-of-the-prompt"
Lines = asyncio.Queue[EventDict]
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
OURS = "a-request-of-these-tests"
HEADERS = {"authorization": "Bearer sk-some-key", "x-request-id": OURS}


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The log's lines of the requests named OURS, as they are written: each after its request's reply."""
    written: Lines = asyncio.Queue()

    def keep(logger: object, level: str, line: EventDict) -> EventDict:
        if line["request_id"] == OURS:
            written.put_nowait({**line, "level": level})
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[keep])
    yield written
    structlog.configure(**before)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_one_line_without_text_or_key(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, lines: Lines, stream: bool
) -> None:
    await http.post("/v1/chat/completions", json=CHAT | {"stream": stream}, headers=HEADERS)

    line = await lines.get()
    assert line.pop("duration_ms") > 0
    assert line == {
        "event": "request",
        "level": "info",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "request_id": OURS,
        "model": MODEL,
        "stream": stream,
        "prompt_tokens": 7,
        "completion_tokens": 3,
    }


async def test_a_request_without_a_model_is_logged_with_the_one_that_answered(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, lines: Lines
) -> None:
    await http.post("/v1/completions", json={"prompt": PROMPT}, headers=HEADERS)

    assert (await lines.get())["model"] == MODEL


async def test_a_refused_request_is_one_line_with_its_error(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, lines: Lines
) -> None:
    await http.post("/v1/chat/completions", content=PROMPT, headers=HEADERS)
    await http.get("/nothing", headers=HEADERS)

    refused, absent = await lines.get(), await lines.get()
    assert (refused["status"], refused["error"]) == (400, "BadRequestError")
    assert (absent["status"], absent["error"]) == (404, "NotFoundError")
    assert PROMPT not in str(refused)


async def test_a_broken_stream_is_one_line_with_its_error(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, lines: Lines
) -> None:
    upstream.script = Script(after=1, failure=Failure(grpc.StatusCode.INTERNAL))

    await http.post("/v1/chat/completions", json=CHAT | {"stream": True}, headers=HEADERS)

    line = await lines.get()
    assert (line["status"], line["error"], line["reason"]) == (200, "StreamInterrupted", "SCRIPTED")


async def test_a_caller_who_hung_up_before_the_reply_is_one_line_that_says_so(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, lines: Lines
) -> None:
    upstream.script = Script(hold=True)
    asking = asyncio.create_task(http.post("/v1/chat/completions", json=CHAT | {"stream": True}, headers=HEADERS))
    await upstream.held.wait()
    asking.cancel()

    line = await lines.get()
    assert (line["status"], line["error"]) == (499, "CallerGoneError")


async def test_a_caller_who_hung_up_in_mid_stream_is_one_line_that_says_so(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, lines: Lines
) -> None:
    upstream.script = Script(after=1, hold=True)
    async with http.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}, headers=HEADERS) as reply:
        await anext(reply.aiter_bytes())

    line = await lines.get()
    assert (line["status"], line["error"]) == (200, "CallerGoneError")


async def test_a_caller_who_hung_up_in_mid_request_is_one_line_that_says_so(
    gateway: str, upstream: ScriptedUpstream, lines: Lines
) -> None:
    address = httpx.URL(gateway)
    _, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(
        f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nx-request-id: {OURS}\r\ncontent-length: 9\r\n\r\n".encode()
    )
    writer.close()

    line = await lines.get()
    assert (line["status"], line["error"]) == (499, "ClientDisconnect")


async def test_a_bug_is_a_500_that_tells_where_to_look_and_nothing_else(lines: Lines) -> None:
    async def broken(request: Request) -> Response:
        raise ZeroDivisionError(PROMPT)

    app = RequestLog(Starlette(routes=[Route("/", broken)], exception_handlers=HANDLERS))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        reply = await http.get("/", headers=HEADERS)

    line = await lines.get()
    assert reply.status_code == 500
    assert OURS in reply.json()["error"]["message"]
    assert PROMPT not in reply.text
    assert (line["status"], line["error"]) == (500, "InternalServerError")
