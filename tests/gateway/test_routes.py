import httpx
import pytest

from tests.gateway.running_gateway import serve_gateway
from tests.gateway.scripted_upstream import LOAD_TIME_SECONDS, MODEL, SLASHED_MODEL, ScriptedUpstream

ERROR_FIELDS = {"message", "type", "param", "code"}


async def test_models_are_listed_in_openais_shape(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    listed = (await http.get("/v1/models")).json()

    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == [MODEL, SLASHED_MODEL]
    assert all(model["object"] == "model" and model["owned_by"] for model in listed["data"])
    assert listed["data"][0]["created"] == LOAD_TIME_SECONDS


@pytest.mark.parametrize("path", ["meta-llama%2FLlama-3", "meta-llama/Llama-3", "meta-llama/Llama-3/"])
async def test_a_model_is_found_by_a_name_with_a_slash(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, path: str
) -> None:
    reply = await http.get(f"/v1/models/{path}")

    assert reply.status_code == 200
    assert reply.json()["id"] == SLASHED_MODEL


async def test_a_model_that_is_not_there(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    reply = await http.get("/v1/models/gpt-4")

    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions/", "//v1/chat/completions", "/v1//chat/completions", "/v1/chat//completions//"]
)
async def test_slashes_too_many_do_no_harm(gateway: str, upstream: ScriptedUpstream, path: str) -> None:
    async with httpx.AsyncClient() as http:
        reply = await http.post(gateway + path, json={"messages": [{"role": "user", "content": "Hi"}]})

    assert reply.status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chat", "/v1/chat/completions/chatcmpl-1", "/favicon.ico"])
async def test_what_does_not_exist_says_so_in_openais_shape(http: httpx.AsyncClient, method: str, path: str) -> None:
    reply = await http.request(method, path)

    assert reply.status_code == 404
    assert set(reply.json()["error"]) >= ERROR_FIELDS
    assert path in reply.json()["error"]["message"]


@pytest.mark.parametrize(("path", "host"), [("/%ff%00", "x"), ("/" + "x" * 12_000, "x"), ("/", "["), ("/", "/?#")])
async def test_not_even_odd_paths_and_hosts_break_that(http: httpx.AsyncClient, path: str, host: str) -> None:
    reply = await http.get(path, headers={"host": host})

    assert reply.status_code == 404
    assert len(reply.json()["error"]["message"]) < 400


@pytest.mark.parametrize(
    "path",
    [
        "/v1/responses",
        "/v1/responses/resp_1",
        "/v1/moderations",
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/images/generations",
    ],
)
async def test_openais_other_routes_are_not_offered(http: httpx.AsyncClient, path: str) -> None:
    reply = await http.post(path, json={})

    assert reply.status_code == 501
    assert set(reply.json()["error"]) >= ERROR_FIELDS
    assert reply.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("GET", "/v1/embeddings", "POST"),
        ("DELETE", "/v1/models/tiny", "GET"),
        ("POST", "/health", "GET"),
    ],
)
async def test_the_wrong_method(http: httpx.AsyncClient, method: str, path: str, allowed: str) -> None:
    reply = await http.request(method, path)

    assert reply.status_code == 405
    assert allowed in reply.headers["allow"]
    assert set(reply.json()["error"]) >= ERROR_FIELDS


async def test_health_while_the_service_serves(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    reply = await http.get("/health")

    assert (reply.status_code, reply.json()) == (200, {"status": "SERVING"})


async def test_health_while_the_service_is_not_ready(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    await upstream.set_serving(False)

    reply = await http.get("/health")

    assert (reply.status_code, reply.json()) == (503, {"status": "NOT_SERVING"})


async def test_without_a_service_health_is_503_and_calls_are_too(unused_port: int) -> None:
    async with serve_gateway(upstream=f"127.0.0.1:{unused_port}") as url, httpx.AsyncClient(base_url=url) as http:
        health = await http.get("/health")
        models = await http.get("/v1/models")
        chat = await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hi"}]})

    assert (health.status_code, health.json()) == (503, {"status": "UNREACHABLE"})
    assert (models.status_code, chat.status_code) == (503, 503)
    assert set(chat.json()["error"]) >= ERROR_FIELDS
