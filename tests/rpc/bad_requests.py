"""Every way in which a request can be wrong by itself, with the fields that the error must name."""

from typing import Any

from penstock.v1 import generation_pb2 as pb

NAN, INFINITY = float("nan"), float("inf")


def _said(*messages: pb.Message) -> pb.Conversation:
    return pb.Conversation(messages=messages)


_HELLO = pb.ContentPart(text="hello")

# What is wrong -> the request's fields, and the fields that the error names.
BAD_REQUESTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no input": ({"prompt": None}, ["input"]),
    "empty prompt": ({"prompt": ""}, ["prompt"]),
    "no token ids": ({"prompt": None, "token_ids": pb.TokenIds()}, ["token_ids.ids"]),
    "token ids outside the vocabulary": (
        {"prompt": None, "token_ids": pb.TokenIds(ids=[1, 10_000_000, 2, -1])},
        ["token_ids.ids[1]", "token_ids.ids[3]"],
    ),
    "no messages": ({"prompt": None, "conversation": _said()}, ["conversation.messages"]),
    "message without role or content": (
        {"prompt": None, "conversation": _said(pb.Message())},
        ["conversation.messages[0].role", "conversation.messages[0].content"],
    ),
    "role that does not exist": (
        {"prompt": None, "conversation": _said(pb.Message(role=99, content=[_HELLO]))},
        ["conversation.messages[0].role"],
    ),
    "part without text": (
        {"prompt": None, "conversation": _said(pb.Message(role=pb.ROLE_USER, content=[_HELLO, pb.ContentPart()]))},
        ["conversation.messages[0].content[1]"],
    ),
    "too many messages": (
        {"prompt": None, "conversation": _said(*[pb.Message()] * 2049)},
        ["conversation.messages"],
    ),
    "too many parts": (
        {"prompt": None, "conversation": _said(pb.Message(role=pb.ROLE_USER, content=[pb.ContentPart()] * 65))},
        ["conversation.messages[0].content"],
    ),
    "NaN temperature": ({"sampling": {"temperature": NAN}}, ["sampling.temperature"]),
    "infinite temperature": ({"sampling": {"temperature": INFINITY}}, ["sampling.temperature"]),
    "negative temperature": ({"sampling": {"temperature": -0.1}}, ["sampling.temperature"]),
    "huge temperature": ({"sampling": {"temperature": 1e300}}, ["sampling.temperature"]),
    "zero top_p": ({"sampling": {"top_p": 0}}, ["sampling.top_p"]),
    "top_p above one": ({"sampling": {"top_p": 1.01}}, ["sampling.top_p"]),
    "negative top_k": ({"sampling": {"top_k": -1}}, ["sampling.top_k"]),
    "huge top_k": ({"sampling": {"top_k": 2**31 - 1}}, ["sampling.top_k"]),
    "min_p outside": ({"sampling": {"min_p": 2}}, ["sampling.min_p"]),
    "penalties outside": (
        {"sampling": {"frequency_penalty": -2.5, "presence_penalty": NAN, "repetition_penalty": 0}},
        ["sampling.frequency_penalty", "sampling.presence_penalty", "sampling.repetition_penalty"],
    ),
    "no tokens asked for": ({"stopping": {"max_tokens": 0}}, ["stopping.max_tokens"]),
    "negative max_tokens": ({"stopping": {"max_tokens": -(2**31)}}, ["stopping.max_tokens"]),
    "min_tokens above max_tokens": ({"stopping": {"max_tokens": 4, "min_tokens": 5}}, ["stopping.min_tokens"]),
    "negative min_tokens": ({"stopping": {"min_tokens": -1}}, ["stopping.min_tokens"]),
    "too many stop texts": ({"stopping": {"stop": ["x"] * 17}}, ["stopping.stop"]),
    "empty and too long stop texts": (
        {"stopping": {"stop": ["ok", "", "é" * 65]}},
        ["stopping.stop[1]", "stopping.stop[2]"],
    ),
    "too many stop tokens": ({"stopping": {"stop_token_ids": [1] * 129}}, ["stopping.stop_token_ids"]),
    "stop token outside": ({"stopping": {"stop_token_ids": [-7]}}, ["stopping.stop_token_ids[0]"]),
    "stop text without text": (
        {"stopping": {"stop": ["x"]}, "response": {"text": False}},
        ["response.text"],
    ),
    "negative delay": ({"response": {"max_delay_ms": -1}}, ["response.max_delay_ms"]),
    "huge delay": ({"response": {"max_delay_ms": 1001}}, ["response.max_delay_ms"]),
    "request id with a line break": ({"request_id": "a\nb"}, ["request_id"]),
    "request id too long": ({"request_id": "a" * 129}, ["request_id"]),
    "idempotency key with a blank": ({"idempotency_key": "order 7"}, ["idempotency_key"]),
    "idempotency key too long": ({"idempotency_key": "a" * 129}, ["idempotency_key"]),
    "everything at once": (
        {"prompt": None, "sampling": {"temperature": NAN, "top_k": -1}, "stopping": {"max_tokens": -1}},
        ["input", "sampling.temperature", "sampling.top_k", "stopping.max_tokens"],
    ),
}


def bad_request(name: str) -> tuple[pb.GenerateRequest, list[str]]:
    """The request called `name`, and the fields that are wrong in it."""
    fields, wrong = BAD_REQUESTS[name]
    return pb.GenerateRequest(**{"prompt": "Hello", **fields}), wrong
