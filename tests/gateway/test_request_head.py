"""The head of a request is bounded, in bytes and in time."""

import asyncio
import re

import httpx
import pytest

from penstock_gateway import request_head
from tests.gateway.running_gateway import serve_gateway
from tests.gateway.scripted_upstream import ScriptedUpstream

HEAD = b"GET /health HTTP/1.1\r\nhost: x\r\n"


async def said(gateway: str, *pieces: bytes) -> bytes:
    """All that the gateway says to these bytes until it hangs up."""
    url = httpx.URL(gateway)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        reply = await reader.read()
    writer.close()
    return reply


def padded(size: int) -> bytes:
    """A head of so many bytes."""
    end = b"connection: close\r\n\r\n"
    return HEAD + b"x-long: " + b"~" * (size - len(HEAD) - len(end) - 10) + b"\r\n" + end


def statuses(replies: bytes) -> list[bytes]:
    """The status of each reply."""
    return re.findall(rb"HTTP/1\.1 (\d+)", replies)


@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "in pieces"])
async def test_a_head_has_16_kib_at_most(gateway: str, upstream: ScriptedUpstream, in_pieces: bool) -> None:
    within, beyond = padded(16 << 10), padded((16 << 10) + 1)
    step = 1000 if in_pieces else 1 << 20

    assert (await said(gateway, *(within[at : at + step] for at in range(0, len(within), step)))).split()[1] == b"200"
    refused = await said(gateway, *(beyond[at : at + step] for at in range(0, len(beyond), step)))

    assert refused.split()[1] == b"431"
    assert b"16384" in refused


@pytest.mark.parametrize(
    ("before", "status"),
    [
        (HEAD + b"\r\n", b"200"),
        (b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", b"404"),
    ],
    ids=["a short one", "a body"],
)
async def test_a_head_behind_another_request_has_16_kib_at_most(
    gateway: str, upstream: ScriptedUpstream, before: bytes, status: bytes
) -> None:
    within = await said(gateway, before + padded(16 << 10))
    beyond = await said(gateway, before + padded((16 << 10) + 1))

    assert statuses(within) == [status, b"200"]
    assert statuses(beyond) == [status, b"431"]


async def test_a_head_behind_the_rest_of_a_body_that_was_answered_unread_has_16_kib_at_most(
    gateway: str, upstream: ScriptedUpstream
) -> None:
    url = httpx.URL(gateway)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhe")
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"llo" + padded((16 << 10) + 1))
        rest = await reader.read()
    writer.close()

    assert statuses(answer + rest) == [b"404", b"431"]


async def test_ten_thousand_headers_are_refused(gateway: str, upstream: ScriptedUpstream) -> None:
    assert (await said(gateway, HEAD + b"a: b\r\n" * 10_000 + b"\r\n")).split()[1] == b"431"


@pytest.mark.parametrize("begun", [b"", HEAD, HEAD + b"connection: keep-alive\r\n\r\n" + HEAD])
async def test_a_head_that_does_not_come_ends_the_connection(
    upstream_server: tuple[str, ScriptedUpstream], monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(request_head, "HEAD_SECONDS", 0.2)
    async with serve_gateway(upstream=upstream_server[0]) as gateway:
        reply = await said(gateway, begun)

    assert b"408" in reply


async def test_a_body_may_take_longer_than_a_head(
    upstream: ScriptedUpstream, upstream_server: tuple[str, ScriptedUpstream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_head, "HEAD_SECONDS", 0.1)
    async with serve_gateway(upstream=upstream_server[0]) as gateway:
        url = httpx.URL(gateway)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 16\r\n\r\n")
        await asyncio.sleep(0.3)
        writer.write(b'{"prompt": "Hi"}')
        async with asyncio.timeout(10):
            assert (await reader.readline()).split()[1] == b"200"
        writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"GET /health\r\n\r\n\r\n",
        b"GET /he\x00alth HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
    ids=["two lengths", "two encodings", "no version", "a NUL"],
)
async def test_what_two_readers_could_read_differently_is_refused(
    gateway: str, upstream: ScriptedUpstream, request_bytes: bytes
) -> None:
    status = int((await said(gateway, request_bytes)).split()[1])

    assert status in {400, 501}
    assert upstream.requests == []
