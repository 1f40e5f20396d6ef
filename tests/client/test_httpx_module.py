"""`penstock.openai` as a module: which libraries it needs, and what it makes of them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import httpx2
import openai
import pytest

import penstock.openai
from penstock import AsyncClient, Client
from penstock.openai import http_client
from tests.client.scripted_server import ScriptedServer

MESSAGES: Any = [{"role": "user", "content": "Hi"}]


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.target, timeout=20) as client:
        yield client


async def test_any_http_can_be_spoken_and_a_wrong_body_is_a_400(client: AsyncClient) -> None:
    async with http_client(client) as http:
        answer = await http.post("http://x/v1/chat/completions", json={"messages": MESSAGES, "unknown": 1})
        broken = await http.post("http://x/v1/completions", content=b"{")
        wrong = await http.post("http://x/v1/embeddings", json={"model": "tiny"})

    assert answer.json()["choices"][0]["message"]["content"] == "Hello wörld"
    assert [(each.status_code, each.headers["x-should-retry"]) for each in (broken, wrong)] == [(400, "false")] * 2
    assert wrong.json()["error"]["param"] == "input"


async def test_closing_it_leaves_the_client_open(client: AsyncClient) -> None:
    async with http_client(client):
        pass

    assert (await client.generate("Once")).text


def fresh_module(installed: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """penstock.openai as it is where `installed` tells the versions of packages."""
    monkeypatch.setattr(importlib.metadata, "version", installed)
    spec = importlib.util.spec_from_file_location("penstock_openai_again", penstock.openai.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_an_sdk_before_3_is_served_with_the_httpx_that_it_knows(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = fresh_module(lambda _: "2.54.0", monkeypatch)

    http = module.http_client(client)
    ai = openai.AsyncOpenAI(http_client=http, api_key="-")
    answer = await ai.chat.completions.create(model="tiny", messages=MESSAGES)
    pieces = [piece async for piece in await ai.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)]

    assert isinstance(http, httpx.AsyncClient)
    assert answer.choices[0].message.content == "Hello wörld"
    assert len(pieces) == 4


def test_without_the_sdk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    with pytest.raises(ImportError, match=r"pip install 'penstock\[openai\]'"):
        fresh_module(missing, monkeypatch)


def test_each_flavour_gets_its_own_and_others_are_refused() -> None:
    with Client("localhost:1") as client:
        assert isinstance(http_client(client), httpx2.Client)
    assert isinstance(http_client(AsyncClient("localhost:1")), httpx2.AsyncClient)
    with pytest.raises(TypeError, match=r"client must be a penstock\.Client"):
        http_client("localhost:1")  # type: ignore[call-overload]
