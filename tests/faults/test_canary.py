"""What callers say, what the model answers and the keys that they show are in no log, trace or metric.

Every place where a caller can put text gets a canary, calls end in every way that there is, and the canary is looked
for in all that operators see. Callers are told no more than the name that they gave, cut short.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Self

import grpc
import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY, generate_latest

from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from penstock_service.call_log import configure_log
from penstock_service.engine.base import Job, Receiver
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.service import Load
from penstock_service.settings import Settings
from tests.conftest import Running, eventually, opened, simulated_settings
from tests.faults.faulty_engine import faulty
from tests.faults.h2.connection import GENERATE, connected, grpc_headers
from tests.rpc.session_user import SessionUser

CANARY = "canary-7f3a"
UNAUTHENTICATED = 16
NASTY = f"{CANARY}\r\n\x1b[31m\x00{{}}%s"
KEY = (("authorization", f"Bearer {CANARY}-key"), ("x-note", f"{CANARY}-metadata"))
SCHEMA = json.dumps({"type": "object", "properties": {CANARY: {"type": "string", "description": CANARY}}})
STOPPING = {"max_tokens": 24, "ignore_eos": True, "stop": [f"{CANARY}-stop"]}

PROMPT = pb.GenerateRequest(prompt=f"Hello {NASTY}", stopping=STOPPING)
CONVERSATION = pb.GenerateRequest(
    conversation={
        "messages": [
            {"role": "ROLE_SYSTEM", "content": [{"text": f"{NASTY}-system"}]},
            {"role": "ROLE_USER", "content": [{"text": f"{NASTY}-user"}]},
            {
                "role": "ROLE_ASSISTANT",
                "tool_calls": [{"id": "call-1", "name": "weather", "arguments": json.dumps({"city": CANARY})}],
            },
            {"role": "ROLE_TOOL", "tool_call_id": "call-1", "content": [{"text": f"{NASTY}-result"}]},
        ]
    },
    tools=[{"name": "weather", "description": f"{CANARY}-tool", "parameters": SCHEMA}],
    stopping=STOPPING,
)
LONG = pb.GenerateRequest(prompt=f"Hello {NASTY}", stopping={"max_tokens": 4000, "ignore_eos": True})


class ToolEngine(SimulatedEngine):
    """Lets tools be described, of which it makes nothing."""

    @classmethod
    async def load(cls, settings: Settings) -> Self:
        engine = await super().load(settings)
        engine.model.tool_parser = "hermes"
        return engine


class Seen:
    """What operators see of a service."""

    def __init__(self, running: Running, spans: InMemorySpanExporter, read: Callable[[], str]) -> None:
        self.running = running
        self._spans = spans
        self._read = read
        self.log = ""

    def read_log(self) -> list[dict[str, Any]]:
        """The lines that are there by now."""
        self.log += self._read()
        return [json.loads(line) for line in self.log.splitlines()]

    async def lines(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """The lines of the log with that event, once there are so many."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [line for line in self.read_log() if line["event"] == event]
            return len(found) >= count

        await eventually(there, f"{count} lines {event!r}")
        return found

    def everything(self) -> str:
        """All of it, of the service's life so far."""
        self.read_log()
        spans = "".join(span.to_json() for span in self._spans.get_finished_spans())
        return self.log + spans + generate_latest(REGISTRY).decode()


@asynccontextmanager
async def seen(capfd: pytest.CaptureFixture[str], load: Load, **settings: Any) -> AsyncIterator[Seen]:
    """A service of which everything is seen; on exit nothing of it may have a canary."""
    spans = InMemorySpanExporter()
    configure_log("info")  # to stderr, as the program does
    try:
        async with opened(simulated_settings(metrics_port=0, **settings), load, spans=spans) as running:
            found = Seen(running, spans, lambda: "".join(capfd.readouterr()))
            yield found
            metrics = found.everything()
    finally:
        structlog.reset_defaults()
    for line in found.read_log():
        assert all(len(str(value)) <= 256 for name, value in line.items() if name != "exception"), line
    for text in (found.everything(), metrics):
        assert CANARY not in text, text[max(text.index(CANARY) - 2000, 0) : text.index(CANARY) + 200]


async def told(call: grpc.aio.Call) -> str:
    """All that a failed call says to its caller."""
    with pytest.raises(grpc.RpcError):
        await call
    return f"{await call.details()} {await call.trailing_metadata()!r}"


async def read_to_its_end(call: grpc.aio.UnaryStreamCall) -> None:
    with contextlib.suppress(grpc.RpcError):
        while await call.read() is not grpc.aio.EOF:
            pass


async def test_nothing_is_told_of_calls_that_end_well(capfd: pytest.CaptureFixture[str]) -> None:
    async with seen(capfd, ToolEngine.load) as found:
        generation = found.running.generation
        replies = [await generation.Generate(request, metadata=KEY) for request in (PROMPT, CONVERSATION)]
        await read_to_its_end(generation.StreamGenerate(CONVERSATION, metadata=KEY))
        await generation.Generate(pb.GenerateRequest(batch={"inputs": [{"prompt": CANARY}]}, stopping=STOPPING))
        await generation.Tokenize(pb.TokenizeRequest(prompt=CANARY))
        await generation.Estimate(pb.EstimateRequest(request=PROMPT))
        async with SessionUser(found.running, metadata=KEY) as user:
            await user.start(1, CONVERSATION)
            assert await user.text(1)

        await found.lines("call", 7)
        shown = found.everything()
        for reply in replies:
            assert len(reply.sequences[0].text) > 40
            assert reply.sequences[0].text[:20] not in shown


WRONG_NAMES = [f"{CANARY}\r\nX", f"{CANARY}\x1b[31m", f"{CANARY}\x00", f"{CANARY} {{}} %s", CANARY * 200]


def refused_requests() -> Iterator[tuple[str, Any]]:
    """The RPC and a request that it refuses, for whatever reason."""
    for name in WRONG_NAMES:
        yield "Generate", pb.GenerateRequest(prompt=NASTY, request_id=name)
        yield "Generate", pb.GenerateRequest(prompt=NASTY, idempotency_key=name)
    for request in (PROMPT, CONVERSATION):
        wrong = pb.GenerateRequest(sampling={"temperature": 5}, structured_output={"regex": f"({CANARY}"})
        wrong.MergeFrom(request)
        yield "Generate", wrong
    yield "Generate", pb.GenerateRequest(prompt=CANARY * 100_000)
    yield "Generate", pb.GenerateRequest(prompt=NASTY, structured_output={"json_schema": f'{{"{CANARY}": '})
    yield "Generate", pb.GenerateRequest(prompt=NASTY, structured_output={"grammar": f"{CANARY} ::="})
    for kind in ("image", "audio"):
        part = {kind: {"url": f"https://{CANARY}:secret@media.example/{CANARY}"}}
        yield (
            "Generate",
            pb.GenerateRequest(
                conversation={"messages": [{"role": "ROLE_USER", "content": [part]}]}, stopping=STOPPING
            ),
        )
    yield "Tokenize", pb.TokenizeRequest(prompt=CANARY, model=CANARY)
    yield "Estimate", pb.EstimateRequest(request=pb.GenerateRequest(prompt=CANARY, sampling={"top_p": 7}))
    yield "Embed", pb.EmbedRequest(inputs=[{"text": CANARY}])
    yield "Cancel", pb.CancelRequest(id=CANARY)
    yield "GetGeneration", pb.GetGenerationRequest(request_id=CANARY)


NAMES_ONLY = ("model", "request_id", "idempotency_key", "id")


async def test_nothing_is_told_of_calls_that_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    async with seen(capfd, SimulatedEngine.load) as found:
        refused = list(refused_requests())
        for method, request in refused:
            said = await told(getattr(found.running.generation, method)(request, metadata=KEY))
            assert "Traceback" not in said
            assert ".py" not in said
            if not any(str(getattr(request, name, "")) for name in NAMES_ONLY):
                assert CANARY not in said, method
        await found.lines("call", len(refused))


async def test_names_that_nobody_has_are_told_to_their_caller_alone_and_cut(capfd: pytest.CaptureFixture[str]) -> None:
    async with seen(capfd, SimulatedEngine.load) as found:
        generation, models = found.running.generation, found.running.models
        long_name = CANARY * 40
        calls = [
            generation.Generate(pb.GenerateRequest(prompt="Hello", model=long_name), metadata=KEY),
            models.GetModel(models_pb2.GetModelRequest(name=long_name)),
            models.LoadAdapter(models_pb2.LoadAdapterRequest(name=CANARY, version=CANARY)),
            models.UnloadAdapter(models_pb2.UnloadAdapterRequest(name=CANARY, version=CANARY)),
            models.SetAlias(models_pb2.SetAliasRequest(alias=CANARY, target=CANARY)),
            models.SetAlias(models_pb2.SetAliasRequest(alias=NASTY, target=NASTY)),
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError):
                await call
            assert long_name not in await call.details()
        await found.lines("call", len(calls))


async def test_nothing_is_told_of_keys_that_are_right_or_wrong(capfd: pytest.CaptureFixture[str]) -> None:
    right = f"{CANARY}-right"
    known = {"api_keys": (f"search:{hashlib.sha256(right.encode()).hexdigest()}",)}
    async with seen(capfd, SimulatedEngine.load, **known) as found:
        generate = found.running.generation.Generate
        await generate(PROMPT, metadata=(("authorization", f"Bearer {right}"),))
        for wrong in (KEY, (("authorization", NASTY.split("\r")[0]),), (("authorization", "Bearer " + "x" * 4000),)):
            assert CANARY not in await told(generate(PROMPT, metadata=wrong))

        (refused,) = await found.lines("refused")
        assert refused["reason"] == "UNAUTHENTICATED"


async def test_headers_that_are_no_text_are_not_repeated(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    known = {"api_keys": (f"search:{hashlib.sha256(b'psk_known').hexdigest()}",)}
    async with seen(capfd, SimulatedEngine.load, **known) as found, connected(found.running.address) as connection:
        pairs = [("authorization", f"Bearer {CANARY}\xff"), ("x-note", f"{CANARY}\xff")]
        raw = [(name.encode(), text.encode("latin1")) for name, text in (*grpc_headers(GENERATE), *pairs)]
        for _ in range(20):
            assert (await connection.call(raw, b"")).status == UNAUTHENTICATED
        method = [(b":path", f"/{CANARY}\xff".encode("latin1")), *(pair for pair in raw if pair[0] != b":path")]
        for _ in range(20):
            assert (await connection.call(method, b"")).status

    # It is gRPC that logs them, to Python's own logging.
    told = [record.getMessage() for record in caplog.records]
    assert 1 <= sum("not UTF-8" in line for line in told) <= 5
    assert CANARY not in caplog.text


async def test_bytes_that_are_no_message_are_not_repeated(capfd: pytest.CaptureFixture[str]) -> None:
    async with seen(capfd, SimulatedEngine.load) as found:
        call = found.running.channel.unary_unary("/penstock.v1.Generation/Generate")(b"\xff" + CANARY.encode())

        assert CANARY not in await told(call)

        await found.lines("call")


class QuotingEngine(SimulatedEngine):
    """Fails with exceptions that quote the prompt, one inside the other."""

    async def submit(self, job: Job, receiver: Receiver) -> None:
        try:
            raise KeyError(job.request.prompt)
        except KeyError as error:
            group = ExceptionGroup(job.request.prompt, [ValueError(job.request.prompt)])  # noqa: F821 - Python 3.11
            raise group from error


async def test_an_exception_that_quotes_the_prompt_is_logged_without_what_it_says(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with seen(capfd, QuotingEngine.load) as found:
        said = await told(found.running.generation.Generate(PROMPT, metadata=KEY))
        await read_to_its_end(found.running.generation.StreamGenerate(PROMPT))

        first, _ = await found.lines("internal error", 2)
        assert CANARY not in said
        assert first["id"] in said
        for part in ("KeyError", "ExceptionGroup", "ValueError", "in submit", "raise KeyError(job.request.prompt)"):
            assert part in first["exception"]


async def test_an_exception_in_the_middle_of_a_stream_is_logged_without_what_it_says(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with seen(capfd, faulty(RuntimeError(CANARY), good_puts=3)) as found:
        await read_to_its_end(found.running.generation.StreamGenerate(LONG))

        (line,) = await found.lines("internal error")
        assert line["exception"].startswith("RuntimeError")


async def test_nothing_is_told_of_calls_that_are_cut_short(capfd: pytest.CaptureFixture[str]) -> None:
    async with seen(capfd, SimulatedEngine.load, simulated={"step_time_ms": 10}) as found:
        running = found.running
        await told(running.generation.Generate(LONG, timeout=0.1, metadata=KEY))
        left = running.generation.StreamGenerate(LONG, metadata=KEY)
        await left.read()
        left.cancel()
        await eventually(lambda: running.engine.running == 0, "both are gone")
        drained = running.generation.StreamGenerate(LONG, metadata=KEY)
        await drained.read()
        await asyncio.gather(running.service.drain(0), read_to_its_end(drained))

        lines = await found.lines("call", 3)
        assert [line["code"] for line in lines] == ["DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE"]


async def test_nothing_is_told_of_calls_whose_engine_dies(capfd: pytest.CaptureFixture[str]) -> None:
    async with seen(capfd, SimulatedEngine.load, simulated={"step_time_ms": 10}) as found:
        call = found.running.generation.StreamGenerate(LONG, metadata=KEY)
        await call.read()
        assert isinstance(found.running.engine, SimulatedEngine)
        found.running.engine.kill()
        await read_to_its_end(call)

        (line,) = await found.lines("call")
        assert line["reason"] == "ENGINE_DEAD"


async def test_a_name_that_a_caller_invents_makes_no_new_series() -> None:
    async with opened(simulated_settings(metrics_port=0)) as running:
        await running.generation.Generate(PROMPT)
        with pytest.raises(grpc.RpcError):
            await running.generation.Generate(pb.GenerateRequest(prompt="Hello", model="invented"))
        before = generate_latest(REGISTRY).decode().count("gen_ai_server_request_duration_seconds_count")
        for number in range(50):
            with pytest.raises(grpc.RpcError):
                await running.generation.Generate(pb.GenerateRequest(prompt="Hello", model=f"invented-{number}"))

        after = generate_latest(REGISTRY).decode()

    assert after.count("gen_ai_server_request_duration_seconds_count") == before
    assert "invented" not in after
