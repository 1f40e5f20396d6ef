"""`/v1/embeddings`."""

import httpx
import openai
import pytest

from tests.gateway.scripted_upstream import MODEL, Script, ScriptedUpstream

VECTORS = ((1.0, 0.5), (-2.0, 0.25))


async def test_openais_client_reads_the_vectors(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """It asks for base64 by itself."""
    upstream.script = Script(vectors=VECTORS)

    reply = await ai.embeddings.create(model=MODEL, input=["one", "two"], dimensions=2)

    assert [tuple(each.embedding) for each in reply.data] == list(VECTORS)
    assert (reply.model, reply.usage.prompt_tokens) == (MODEL, 4)
    assert upstream.embedded[0].dimensions == 2


async def test_without_a_format_vectors_are_numbers(http: httpx.AsyncClient, upstream: ScriptedUpstream) -> None:
    """dbgpt/rag/embedding/embeddings.py posts `input` and `model` alone, and sorts by `index`."""
    upstream.script = Script(vectors=VECTORS)

    reply = await http.post(
        "/v1/embeddings", json={"input": ["one", [5, 6]], "model": MODEL}, headers={"x-request-id": "job-1"}
    )

    assert reply.json() == {
        "data": [
            {"embedding": list(vector), "index": index, "object": "embedding"} for index, vector in enumerate(VECTORS)
        ],
        "model": MODEL,
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
        "object": "list",
    }
    assert [each.WhichOneof("input") for each in upstream.embedded[0].inputs] == ["text", "token_ids"]
    assert upstream.embedded[0].request_id == reply.headers["x-request-id"] == "job-1"


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "input"), ({"input": []}, "input"), ({"input": "a", "encoding_format": "hex"}, "encoding_format")],
)
async def test_a_wrong_body_is_refused_by_name(
    http: httpx.AsyncClient, upstream: ScriptedUpstream, body: dict[str, object], param: str
) -> None:
    reply = await http.post("/v1/embeddings", json=body)

    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert upstream.embedded == []
