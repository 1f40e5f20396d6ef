"""The calls beside generating: vectors, tokens, estimates, adapters and aliases."""

from typing import Any

import grpc
import pytest

from penstock import NotFoundError, RateLimitError
from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from penstock.v1.mirrors_pb2 import RpcStatus
from tests.client.conftest import Caller
from tests.client.scripted_server import ScriptedServer

FULL = RpcStatus(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="the queue is full")


def vector(*values: float) -> pb.EmbedResult:
    return pb.EmbedResult(embedding=pb.Embedding(values=values, prompt_tokens=2))


async def test_texts_become_vectors(caller: Caller, server: ScriptedServer) -> None:
    server.answers["Embed"] = pb.EmbedResponse(
        id="emb-1", model="tiny", results=[vector(1, 0), vector(0, 1)], usage=pb.Usage(prompt_tokens=4)
    )

    reply = await caller.call("embed", ["one", [5, 6]], dimensions=2, normalize=True, truncate_prompt_tokens=9)

    assert [list(each) for each in reply.vectors] == [[1, 0], [0, 1]]
    assert [each.prompt_tokens for each in reply] == [2, 2]
    assert (reply.id, reply.model, reply.usage.prompt_tokens) == ("emb-1", "tiny", 4)
    assert server.asked == [
        pb.EmbedRequest(
            inputs=[pb.EmbedInput(text="one"), pb.EmbedInput(token_ids=pb.TokenIds(ids=[5, 6]))],
            dimensions=2,
            normalize=True,
            prompt_options=pb.PromptOptions(truncate_tokens=9),
        )
    ]


async def test_one_text_needs_no_list(caller: Caller, server: ScriptedServer) -> None:
    server.answers["Embed"] = pb.EmbedResponse(results=[vector(1)])

    assert len(await caller.call("embed", "one", model="tiny")) == 1
    assert server.asked == [pb.EmbedRequest(inputs=[pb.EmbedInput(text="one")], model="tiny")]


async def test_a_text_that_failed_has_its_error(caller: Caller, server: ScriptedServer) -> None:
    server.answers["Embed"] = pb.EmbedResponse(results=[vector(1), pb.EmbedResult(status=FULL)])

    reply = await caller.call("embed", ["one", "two"])

    assert isinstance(reply[1], RateLimitError)
    with pytest.raises(RateLimitError, match="the queue is full"):
        _ = reply.vectors


async def test_a_text_has_its_tokens(caller: Caller, server: ScriptedServer) -> None:
    tokens = pb.TokenizeResponse(token_ids=[1, 2], spans=[pb.TokenSpan(start=0, end=2)], text="Hi", model="tiny")
    server.answers["Tokenize"] = tokens

    assert await caller.call("tokenize", "Hi", add_special_tokens=False) == tokens
    assert server.asked[0] == pb.TokenizeRequest(prompt="Hi", prompt_options=pb.PromptOptions(add_special_tokens=False))


async def test_a_conversation_has_tokens_too(caller: Caller, server: ScriptedServer) -> None:
    server.answers["Tokenize"] = pb.TokenizeResponse()
    messages = [{"role": "user", "content": "Hi"}]

    await caller.call("tokenize", messages=messages, tools=[{"name": "add"}], model="tiny")

    asked = server.asked[0]
    assert isinstance(asked, pb.TokenizeRequest)
    assert asked.conversation.messages[0].content[0].text == "Hi"
    assert (asked.tools[0].name, asked.model) == ("add", "tiny")


async def test_tokens_have_their_text(caller: Caller, server: ScriptedServer) -> None:
    server.answers["Detokenize"] = pb.DetokenizeResponse(text="Hi")

    assert await caller.call("detokenize", [1, 2], skip_special_tokens=True) == "Hi"
    assert server.asked == [pb.DetokenizeRequest(token_ids=pb.TokenIds(ids=[1, 2]), skip_special_tokens=True)]


async def test_an_estimate_tells_what_a_request_would_need(caller: Caller, server: ScriptedServer) -> None:
    server.answers["Estimate"] = pb.EstimateResponse(prompt_tokens=3, max_completion_tokens=5, admitted=True, wait_ms=0)

    estimate = await caller.call("estimate", "Once", max_tokens=5)

    assert (estimate.prompt_tokens, estimate.max_completion_tokens) == (3, 5)
    assert (estimate.admitted, estimate.refusal, estimate.wait_ms) == (True, None, 0)
    asked = pb.GenerateRequest(prompt="Once", stopping=pb.StoppingOptions(max_tokens=5))
    assert server.asked == [pb.EstimateRequest(request=asked)]


async def test_an_estimate_tells_the_error_that_the_call_would_get(caller: Caller, server: ScriptedServer) -> None:
    server.answers["Estimate"] = pb.EstimateResponse(refusal=FULL)

    estimate = await caller.call("estimate", inputs=["One", "Two"], temperature=0)

    assert isinstance(estimate.refusal, RateLimitError)
    assert (estimate.admitted, estimate.wait_ms) == (False, None)
    asked = server.asked[0]
    assert isinstance(asked, pb.EstimateRequest)
    assert [each.prompt for each in asked.request.batch.inputs] == ["One", "Two"]


async def test_adapters_are_loaded_and_unloaded(caller: Caller, server: ScriptedServer) -> None:
    loaded = models_pb2.Adapter(name="poet", version="2", digest="sha256:00", rank=8)
    loaded.load_time.FromSeconds(5)
    server.answers["LoadAdapter"] = models_pb2.LoadAdapterResponse(adapter=loaded)
    server.answers["UnloadAdapter"] = models_pb2.UnloadAdapterResponse()

    adapter = await caller.call("models.load_adapter", "poet", "2", timeout=30)
    await caller.call("models.unload_adapter", "poet", "2")

    assert (adapter.id, adapter.rank, adapter.digest, adapter.created) == ("poet@2", 8, "sha256:00", 5)
    assert server.asked == [
        models_pb2.LoadAdapterRequest(name="poet", version="2"),
        models_pb2.UnloadAdapterRequest(name="poet", version="2"),
    ]
    assert server.seconds_left[0] is not None


@pytest.mark.parametrize(("previous", "told"), [("tiny", "tiny"), ("", None)])
async def test_an_alias_tells_what_it_meant_before(
    caller: Caller, server: ScriptedServer, previous: str, told: str | None
) -> None:
    server.answers["SetAlias"] = models_pb2.SetAliasResponse(previous_target=previous)

    assert await caller.call("models.set_alias", "prod", "poet@2", metadata={"tenant": "a"}) == told
    assert server.asked == [models_pb2.SetAliasRequest(alias="prod", target="poet@2")]
    assert server.metadata[0]["tenant"] == "a"


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("embed", ["x"]),
        ("tokenize", ["x"]),
        ("detokenize", [[1]]),
        ("estimate", ["x"]),
        ("models.load_adapter", ["a", "1"]),
        ("models.unload_adapter", ["a", "1"]),
        ("models.set_alias", ["a", "b"]),
    ],
)
async def test_a_refusal_is_the_error_that_generate_would_raise(
    caller: Caller, server: ScriptedServer, call: str, arguments: list[Any]
) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")

    with pytest.raises(NotFoundError):
        await caller.call(call, *arguments)


@pytest.mark.parametrize(
    ("call", "arguments", "options", "named"),
    [
        ("embed", [5], {}, "texts"),
        ("embed", [["a", 5]], {}, r"texts\[1\]"),
        ("embed", ["a"], {"dimension": 1}, "dimension"),
        ("embed", ["a"], {"temperature": 1}, "temperature"),
        ("tokenize", ["a"], {"temperature": 1}, "temperature"),
        ("detokenize", ["ab"], {}, "token_ids"),
        ("estimate", ["a"], {"tempreture": 1}, "tempreture"),
        ("models.set_alias", ["a", None], {}, "target"),
        ("generate_batch", [5], {}, "inputs"),
    ],
)
async def test_a_wrong_argument_is_named_and_nothing_is_sent(
    caller: Caller, server: ScriptedServer, call: str, arguments: list[Any], options: dict[str, Any], named: str
) -> None:
    with pytest.raises(TypeError, match=named):
        await caller.call(call, *arguments, **options)

    assert not server.asked
    assert not server.requests


async def test_a_model_tells_what_it_can_do(caller: Caller, server: ScriptedServer) -> None:
    server.tiny.MergeFrom(
        models_pb2.Model(
            tool_parser="hermes",
            structured_outputs=["regex"],
            modalities=[models_pb2.MODALITY_TEXT, models_pb2.MODALITY_IMAGE],
            adapters=[models_pb2.Adapter(name="poet", version="2")],
            adapter_aliases=[models_pb2.Alias(name="prod", target="poet@2")],
            limits=[models_pb2.Limit(field="num_sequences", maximum=8)],
        )
    )

    model = await caller.model("tiny")

    assert (model.tool_parser, model.structured_outputs, model.modalities) == ("hermes", ["regex"], ["text", "image"])
    assert [adapter.id for adapter in model.adapters] == ["poet@2"]
    assert model.adapter_aliases == {"prod": "poet@2"}
    assert model.limits[0].maximum == 8
    assert "limits" not in model.to_dict()
