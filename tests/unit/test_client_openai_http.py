"""What requests of OpenAI's HTTP API come to, and the strict form of schemas, without any I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from penstock import BadRequestError, NotFoundError, Timeout
from penstock.openai_shape.http_calls import HttpCall, HttpRequest, http_call
from penstock.openai_shape.strict_schema import strict_schema

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


def call(path: str, body: Any = None, method: str = "POST", headers: Any = None, limits: Any = None) -> HttpCall:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http_call(HttpRequest(method, path, headers or {}, limits or {}, raw), "id-1")


@pytest.mark.parametrize("base", ["", "/v1", "/api/v1", "/openai/deployments/x"])
def test_the_base_of_the_path_does_not_matter(base: str) -> None:
    assert call(f"{base}/chat/completions", CHAT).function == "chat.completions.create"
    assert call(f"{base}/completions", {"prompt": "a"}).function == "completions.create"
    assert call(f"{base}/embeddings", {"input": "a"}).function == "embeddings.create"
    assert call(f"{base}/models", method="GET") == HttpCall("models.list", {})
    assert call(f"{base}/models/org/tiny", method="GET") == HttpCall("models.retrieve", {"model": "org/tiny"})


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/images/generations"), ("GET", "/v1/chat/completions"), ("DELETE", "/v1/models/a")],
)
def test_what_is_not_there_is_not_found(method: str, path: str) -> None:
    with pytest.raises(NotFoundError, match=f"{method} {path}: there is no such route"):
        call(path, CHAT, method)


@pytest.mark.parametrize(
    ("body", "param"), [(b"{", None), (b"[]", None), (b'{"messages": 1}', "messages"), (b"{}", "messages")]
)
def test_a_wrong_body_is_a_bad_request(body: bytes, param: str | None) -> None:
    with pytest.raises(BadRequestError) as caught:
        call("/v1/chat/completions", body)

    assert caught.value.param == param


def test_unknown_fields_and_nulls_are_passed_over_and_extras_travel_apart() -> None:
    asked = call("/v1/chat/completions", {**CHAT, "top_k": 3, "seed": None, "unheard_of": 1}).arguments

    assert asked == {**CHAT, "extra_body": {"request_id": "id-1", "top_k": 3}, "extra_headers": {}}


def test_an_id_in_the_body_is_the_calls() -> None:
    asked = call("/v1/chat/completions", {**CHAT, "request_id": "mine"}).arguments

    assert asked["extra_body"]["request_id"] == "mine"


def test_only_the_callers_own_headers_are_metadata() -> None:
    headers = {
        "host": "x", "accept": "*/*", "content-length": "9", "authorization": "Bearer sk-1", "user-agent": "OpenAI",
        "grpc-timeout": "1S",
        "x-stainless-os": "Linux", "openai-organization": "o", "x-request-id": "r", "idempotency-key": "once",
        "traceparent": "00-1", "x-tenant": "a", "x-umlaut": "ä", "x-bytes-bin": "AA",
    }  # fmt: skip

    asked = call("/v1/chat/completions", CHAT, headers=headers).arguments

    assert asked["extra_headers"] == {"traceparent": "00-1", "x-tenant": "a"}
    assert asked["idempotency_key"] == "once"
    assert "idempotency_key" not in call("/v1/embeddings", {"input": "a"}, headers=headers).arguments


@pytest.mark.parametrize(
    ("limits", "stream", "expected"),
    [
        ({"connect": None, "read": None}, False, None),
        ({"read": 7.0}, False, Timeout(total=7)),
        ({"connect": 2.0, "read": 7.0}, False, Timeout(total=7, connect=2)),
        ({"connect": 2.0, "read": 7.0}, True, Timeout(connect=2, first_token=7, idle=7)),
    ],
)
def test_the_wait_between_two_reads_limits_a_whole_answer_or_each_wait_of_a_stream(
    limits: dict[str, float | None], stream: bool, expected: Timeout | None
) -> None:
    asked = call("/v1/chat/completions", {**CHAT, "stream": stream}, limits=limits)

    assert asked.arguments.get("timeout") == expected
    assert asked.stream is stream


class Part(BaseModel):
    name: str
    weight: float | None = None


class Machine(BaseModel):
    parts: list[Part]
    spare: Part | None = Field(None, description="in the cellar")
    labels: dict[str, str] = {}
    properties: int = 0
    pair: tuple[int, Part] = (1, Part(name="a"))


@pytest.mark.parametrize("model", [Part, Machine])
def test_the_strict_form_of_a_schema_is_openais(model: type[BaseModel]) -> None:
    assert strict_schema(model.model_json_schema()) == to_strict_json_schema(model)
