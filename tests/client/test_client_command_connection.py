"""How `penstock` reaches a service: targets, replicas, API key, TLS."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.client.certificates import Authority
from tests.client.penstock_command import Penstock
from tests.client.scripted_server import ScriptedServer


@pytest.fixture
def penstock(server: ScriptedServer) -> Penstock:
    return Penstock(server.target)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[ScriptedServer]:
    """A server that shows a certificate for llm.test, and wants one of its callers."""
    server = ScriptedServer()
    await server.start(credentials=authority.server("llm.test", demands_certificate=True))
    yield server
    await server.stop()


async def test_options_may_come_before_the_command_and_those_after_it_count(
    penstock: Penstock, server: ScriptedServer
) -> None:
    before = await penstock("--target", "127.0.0.1:1", "models", "--timeout", "2")
    both = await penstock("--target", "127.0.0.1:1", "models", "--target", server.target)

    assert before[0] == 1
    assert both == (0, "tiny\n", "")


async def test_an_api_key_of_the_environment_is_sent(server: ScriptedServer) -> None:
    await Penstock(server.target, PENSTOCK_API_KEY="s3cret")("generate", "Hi")

    assert server.metadata[0]["authorization"] == "Bearer s3cret"


async def test_another_replica_answers_for_one_that_is_down(server: ScriptedServer) -> None:
    answers = [await Penstock("127.0.0.1:1", server.target)("generate", "Hi", "--timeout", "20") for _ in range(2)]

    assert answers == [(0, "Hello wörld\n", "")] * 2


async def test_status_asks_each_address_behind_a_name(server: ScriptedServer) -> None:
    _, out, _ = await Penstock(f"dns:///localhost:{server.port}")("status", "--json")

    assert server.target in [json.loads(line)["endpoint"] for line in out.splitlines()]


async def test_tls_trusts_a_given_authority_and_shows_a_certificate(
    secure: ScriptedServer, authority: Authority
) -> None:
    certificate, key = authority.sign("caller")
    files = ["--tls-ca", str(authority.ca), "--tls-certificate", str(certificate), "--tls-key", str(key)]
    named = [*files, "--tls-server-name", "llm.test"]

    assert await Penstock(secure.target)("models", *named) == (0, "tiny\n", "")
    _, out, _ = await Penstock(f"dns:///localhost:{secure.port}")("status", "--json", *named)
    assert "SERVING" in [json.loads(line)["health"] for line in out.splitlines()]
    unnamed, _, err = await Penstock(secure.target)("models", *files, "--timeout", "5")
    assert (unnamed, err.count("\n")) == (1, 1)


async def test_a_tls_file_that_is_missing_is_one_sentence(penstock: Penstock) -> None:
    status, _, err = await penstock("models", "--tls-ca", "/nowhere/ca.pem")

    assert status == 1
    assert err.startswith("penstock: ")
    assert "/nowhere/ca.pem" in err
    assert err.count("\n") == 1
