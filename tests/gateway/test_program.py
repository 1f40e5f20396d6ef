"""The command `penstock-gateway`."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.gateway.scripted_upstream import Script, ScriptedUpstream

TEXT = {"prompt": "Hi", "stream": True}


async def gateway_process(*flags: str, **environment: str) -> Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock_gateway", *flags, stdout=PIPE, stderr=PIPE, env=clean | environment
    )


@asynccontextmanager
async def running(*flags: str) -> AsyncIterator[tuple[Process, str]]:
    """The process, once it listens, and its address."""
    process = await gateway_process("--port", "0", *flags)
    assert process.stderr is not None
    try:
        listening = json.loads(await process.stderr.readline())
        yield process, f"http://{listening['host']}:{listening['port']}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_checked_settings_are_printed() -> None:
    process = await gateway_process(
        "--check-config",
        "--upstream=dns:///llm.svc:50051",
        "--cors-origin=http://a.example",
        "--cors-origin=http://b.example",
        PENSTOCK_GATEWAY_MAX_TIMEOUT_SECONDS="120",
    )
    out, err = await process.communicate()

    settings = json.loads(out)
    assert (process.returncode, err) == (0, b"")
    assert settings["upstream"] == "dns:///llm.svc:50051"
    assert settings["cors_origin"] == ["http://a.example", "http://b.example"]
    assert settings["max_timeout_seconds"] == 120
    assert (settings["host"], settings["port"]) == ("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("flags", "environment", "says"),
    [
        (["--port", "70000"], {}, "port"),
        ([], {"PENSTOCK_GATEWAY_PORT": "http"}, "port"),
        (["--timeout-seconds", "-1"], {}, "timeout_seconds"),
        (["--upstream", ""], {}, "upstream"),
        (["--config", "/nowhere.toml"], {}, "config"),
        (["--no-such-flag"], {}, "--no-such-flag"),
    ],
)
async def test_a_wrong_setting_stops_the_start_with_a_sentence(
    flags: list[str], environment: dict[str, str], says: str
) -> None:
    process = await gateway_process(*flags, **environment)
    out, err = await process.communicate()

    assert (process.returncode, out) == (2, b"")
    assert says in err.decode()
    assert "Traceback" not in err.decode()


async def test_a_taken_port_stops_the_start_with_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await gateway_process("--port", str(taken.getsockname()[1]))
        _, err = await process.communicate()

    assert process.returncode == 2
    assert err.startswith(b"penstock-gateway: port: cannot listen on 127.0.0.1:")


async def test_sigterm_lets_running_streams_finish(
    upstream: ScriptedUpstream, upstream_server: tuple[str, ScriptedUpstream]
) -> None:
    upstream.script = Script(after=1, hold=True)
    async with (
        asyncio.timeout(30),
        running("--upstream", upstream_server[0]) as (process, url),
        httpx.AsyncClient(base_url=url) as http,
        http.stream("POST", "/v1/completions", json=TEXT) as reply,
    ):
        await upstream.held.wait()
        process.send_signal(signal.SIGTERM)
        await _refuses_connections(url)
        upstream.released.set()

        body = await reply.aread()
        _, log = await process.communicate()

    assert body.endswith(b"data: [DONE]\n\n")
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["status"] for line in lines if line["event"] == "request"] == [200]


async def test_sigterm_tells_requests_that_outlast_the_drain(
    upstream: ScriptedUpstream, upstream_server: tuple[str, ScriptedUpstream]
) -> None:
    async with (
        asyncio.timeout(30),
        running("--upstream", upstream_server[0], "--drain-seconds", "0.1") as (process, url),
        httpx.AsyncClient(base_url=url) as http,
    ):
        upstream.script = Script(hold=True)
        whole = asyncio.create_task(http.post("/v1/completions", json={"prompt": "Hi"}))
        await upstream.held.wait()
        upstream.script = Script(after=1, hold=True)
        async with http.stream("POST", "/v1/completions", json=TEXT) as streamed:
            process.send_signal(signal.SIGTERM)
            body = await streamed.aread()
        _, log = await process.communicate()
        await upstream.cancelled.wait()

    assert process.returncode == 0
    assert (await whole).status_code == 503
    assert "stopping" in (await whole).json()["error"]["message"]
    assert "stopping" in json.loads(body.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]["message"]
    assert b"Traceback" not in log


async def _refuses_connections(url: str) -> None:
    address = httpx.URL(url)
    while True:
        try:
            _, writer = await asyncio.open_connection(address.host, address.port)
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.01)
