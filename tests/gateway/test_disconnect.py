"""A caller who hangs up frees the model at once."""

import asyncio

import httpx
import pytest

from tests.gateway.scripted_upstream import Script, ScriptedUpstream

CHAT = ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]})
TEXT = ("/v1/completions", {"prompt": "Hi"})


@pytest.mark.parametrize(("path", "body"), [CHAT, TEXT])
@pytest.mark.parametrize("stream", [False, True])
async def test_hanging_up_before_any_output_cancels_the_call(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, path: str, body: dict[str, object], stream: bool
) -> None:
    upstream.script = Script(hold=True)
    asking = asyncio.create_task(http.post(path, json=body | {"stream": stream}))
    async with asyncio.timeout(10):
        await upstream.held.wait()

        asking.cancel()

        await upstream.cancelled.wait()


@pytest.mark.parametrize(("path", "body"), [CHAT, TEXT])
async def test_hanging_up_in_mid_stream_cancels_the_call(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, path: str, body: dict[str, object]
) -> None:
    upstream.script = Script(after=1, hold=True)
    async with asyncio.timeout(10):
        async with http.stream("POST", path, json=body | {"stream": True}) as reply:
            await anext(reply.aiter_bytes())
            await upstream.held.wait()

        await upstream.cancelled.wait()


async def test_hanging_up_without_having_read_cancels_the_call(gateway: str, upstream: ScriptedUpstream) -> None:
    """The answer is longer than all buffers on its way: it stands still until somebody reads it."""
    upstream.script = Script(pieces=("x" * 65_536,) * 1024)
    address = httpx.URL(gateway)
    body = b'{"prompt": "Hi", "stream": true}'
    _, writer = await asyncio.open_connection(address.host, address.port, limit=1024)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    async with asyncio.timeout(10):
        await upstream.called.wait()

        writer.transport.abort()

        await upstream.cancelled.wait()
