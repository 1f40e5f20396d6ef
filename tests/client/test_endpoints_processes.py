"""Several endpoints in several processes and event loops, and in an environment with a proxy."""

import pytest

from tests.client.scripted_server import ScriptedServer
from tests.client.test_client_processes import run

TARGETS = """
import os
port = os.environ["PORT"]
target = {"list": [f"127.0.0.1:{port}", f"localhost:{port}"], "name": f"dns:///localhost:{port}"}[os.environ["KIND"]]
"""


@pytest.fixture(params=["list", "name"])
def environment(request: pytest.FixtureRequest, server: ScriptedServer) -> dict[str, str]:
    return {"PORT": str(server.port), "KIND": request.param}


async def test_one_async_client_of_several_endpoints_serves_one_loop_after_another(environment: dict[str, str]) -> None:
    code = """
import asyncio
from penstock import AsyncClient
client = AsyncClient(target)
async def ask():
    reply = await client.generate("Once", timeout=20)
    async with client.stream("Once", timeout=20) as stream:
        return reply.text, (await stream.read()).text
print(asyncio.run(ask()), asyncio.run(ask()), sep="\\n")
"""
    assert await run(TARGETS + code, **environment) == "('Hello wörld', 'Hello')\n('Hello wörld', 'Hello')"


async def test_a_client_of_several_endpoints_used_before_a_fork_works_on_in_the_parent_and_in_the_child(
    environment: dict[str, str],
) -> None:
    code = """
from penstock import Client
client = Client(target)
client.generate("Once", timeout=20)
child = os.fork()
text = client.generate("Once", timeout=20).text
if child == 0:
    client.close()
    os._exit(0 if text == "Hello w\\u00f6rld" else 1)
assert os.waitpid(child, 0)[1] == 0
print(text)
"""
    fork = {"GRPC_ENABLE_FORK_SUPPORT": "true", "GRPC_POLL_STRATEGY": "poll"}
    assert await run(TARGETS + code, **environment, **fork) == "Hello wörld"


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
async def test_a_proxy_in_the_environment_is_not_for_any_endpoint(environment: dict[str, str], variable: str) -> None:
    code = """
from penstock import Client
print({Client(target).generate("Once", timeout=20).text for _ in range(2)})
"""
    proxy = {variable: "http://no.such.proxy.invalid:9"}
    assert await run(TARGETS + code, **environment, **proxy) == "{'Hello wörld'}"
