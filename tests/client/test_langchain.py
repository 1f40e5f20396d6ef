"""LangChain's ChatOpenAI and OpenAIEmbeddings over gRPC, through the SDK's http_client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from penstock import AsyncClient, Client
from penstock.openai import http_client
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import in_thread
from tests.client.scripted_server import ScriptedServer


class City(BaseModel):
    """A city."""

    name: str


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def blocking(server: ScriptedServer) -> Iterator[Client]:
    with Client(server.target, timeout=20) as client:
        yield client


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.target, timeout=20) as client:
        yield client


@pytest.fixture
def chat(blocking: Client, client: AsyncClient) -> ChatOpenAI:
    return ChatOpenAI(
        model="tiny",
        api_key=SecretStr("-"),
        http_client=http_client(blocking),
        http_async_client=http_client(client),
        max_retries=0,
    )


async def test_it_answers_in_both_flavours(chat: ChatOpenAI) -> None:
    blocking = await in_thread(chat.invoke, "Hi")
    answer = await chat.ainvoke("Hi")

    assert blocking.content == answer.content == "Hello wörld"
    assert isinstance(answer, AIMessage)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] == 5


async def test_it_streams(chat: ChatOpenAI) -> None:
    pieces = [piece async for piece in chat.astream("Hi", stream_usage=True)]

    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert isinstance(whole, AIMessageChunk)
    assert whole.content == "Hello wörld"
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] == 5


async def test_it_calls_tools(chat: ChatOpenAI, server: ScriptedServer) -> None:
    call = pb.ToolCall(id="call-1", name="add", arguments='{"a": 1, "b": 1}')
    calling = pb.Finish(reason=pb.FINISH_REASON_TOOL_CALLS)
    server.answers["Generate"] = pb.GenerateResponse(
        id="gen-1", model="tiny", sequences=[pb.Sequence(tool_calls=[call], finish=calling)], usage=pb.Usage()
    )
    bound = chat.bind_tools([add])

    answer = await bound.ainvoke("1 + 1?")
    (asked,) = answer.tool_calls
    await bound.ainvoke([HumanMessage("1 + 1?"), answer, ToolMessage(add.invoke(asked["args"]), tool_call_id="call-1")])

    assert (asked["name"], asked["args"]) == ("add", {"a": 1, "b": 1})
    assert server.requests[0].tools[0].name == "add"
    assert server.requests[1].conversation.messages[1].tool_calls[0].id == "call-1"
    assert server.requests[1].conversation.messages[2].content[0].text == "2"


async def test_it_gives_structured_output(chat: ChatOpenAI, server: ScriptedServer) -> None:
    server.texts = ['{"name": ', '"Ulm"}']

    city: Any = await chat.with_structured_output(City, method="json_schema").ainvoke("Which?")

    assert city == City(name="Ulm")
    assert '"name"' in server.requests[0].structured_output.json_schema


async def test_it_embeds(client: AsyncClient, blocking: Client, server: ScriptedServer) -> None:
    vector = pb.EmbedResult(embedding=pb.Embedding(values=[0.5, -1.25], prompt_tokens=2))
    server.answers["Embed"] = pb.EmbedResponse(id="emb-1", model="tiny", results=[vector] * 2)
    embeddings = OpenAIEmbeddings(
        model="tiny",
        api_key=SecretStr("-"),
        http_client=http_client(blocking),
        http_async_client=http_client(client),
        check_embedding_ctx_length=False,  # it would send the token ids of another model's tokenizer
    )

    assert await embeddings.aembed_documents(["a", "b"]) == [[0.5, -1.25]] * 2


async def test_failures_are_openais(chat: ChatOpenAI, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA")

    with pytest.raises(openai.RateLimitError):
        await chat.ainvoke("Hi")
