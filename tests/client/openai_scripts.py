"""What the scripted server answers in the tests of OpenAI's shape: tool calls, JSON, logprobs, vectors, failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from pydantic import BaseModel

from penstock.v1 import generation_pb2 as pb
from tests.client.scripted_server import ScriptedServer

MESSAGES: Any = [{"role": "user", "content": "1 + 1?"}]
ADD = {
    "name": "add",
    "strict": True,
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
}
TOOLS: Any = [{"type": "function", "function": ADD}]
CALLING = pb.Finish(reason=pb.FINISH_REASON_TOOL_CALLS)
STOPPED = pb.Finish(reason=pb.FINISH_REASON_STOP)
USAGE = pb.Usage(prompt_tokens=3, completion_tokens=5, reasoning_tokens=2)


class City(BaseModel):
    name: str
    inhabitants: int | None = None


Script = Callable[[ScriptedServer], None]


def plain(server: ScriptedServer) -> None:
    """Answers as it does by itself."""


def token(text: str) -> pb.TokenInfo:
    candidate = pb.TokenCandidate(text=text, token_bytes=text.encode(), logprob=-0.5, rank=1)
    return pb.TokenInfo(text=text, token_bytes=text.encode(), logprob=-0.5, candidates=[candidate])


def answers(*sequences: pb.Sequence) -> Script:
    reply = pb.GenerateResponse(id="gen-1", model="tiny", sequences=sequences, usage=USAGE)
    return lambda server: server.answers.update(Generate=reply)


def streams(*deltas: pb.SequenceDelta) -> Script:
    def script(server: ScriptedServer) -> None:
        server.deltas = [[delta] for delta in deltas]

    return script


def refuses(status: grpc.StatusCode, reason: str, after: int = 0) -> Script:
    return lambda server: server.refuse(status, reason, after=after)


def embeds(server: ScriptedServer) -> None:
    vectors = [pb.EmbedResult(embedding=pb.Embedding(values=[0.5, -1.25], prompt_tokens=2))] * 2
    server.answers["Embed"] = pb.EmbedResponse(
        id="emb-1", model="tiny", results=vectors, usage=pb.Usage(prompt_tokens=4)
    )


TOOL_CALL = pb.Sequence(
    reasoning="Hm.", tool_calls=[pb.ToolCall(id="call-1", name="add", arguments='{"a": 1}')], finish=CALLING
)
TOOL_DELTAS = (
    pb.SequenceDelta(reasoning="Hm."),
    pb.SequenceDelta(text="Well. "),
    pb.SequenceDelta(tool_calls=[pb.ToolCallDelta(index=0, id="call-1", name="add", arguments='{"a"')]),
    pb.SequenceDelta(tool_calls=[pb.ToolCallDelta(index=0, arguments=": 1}")]),
    pb.SequenceDelta(tool_calls=[pb.ToolCallDelta(index=1, id="call-2", name="add", arguments='{"a": 2}')]),
    pb.SequenceDelta(finish=CALLING),
)
CITY = pb.Sequence(text='{"name": "Ulm", "inhabitants": null}', finish=STOPPED)
CITY_DELTAS = (
    pb.SequenceDelta(text='{"name": "Ul'),
    pb.SequenceDelta(text='m", "inhabitants": 3}'),
    pb.SequenceDelta(finish=STOPPED),
)
CUT = pb.Finish(reason=pb.FINISH_REASON_LENGTH)


def without_time(value: Any) -> Any:
    """`created` is the time of the call; the index of a call is what the SDK leaves over of its deltas."""
    if isinstance(value, dict):
        return {key: without_time(each) for key, each in value.items() if key != "created"}
    if isinstance(value, (list, tuple)):
        return [without_time(each) for each in value]
    return value
