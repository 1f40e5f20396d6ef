"""Asking where a generation is."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import grpc
import pytest

from penstock import APIConnectionError, NotFoundError, PermissionDeniedError
from penstock.status import GenerationStatus
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import Caller, MakeCaller
from tests.client.scripted_server import ScriptedServer

DECODING = pb.GenerationStatus(id="gen-1", phase=pb.GENERATION_PHASE_DECODING, completion_tokens=7, elapsed_ms=1500)


@pytest.fixture
def decoding(server: ScriptedServer) -> ScriptedServer:
    server.answers["GetGeneration"] = DECODING
    return server


@pytest.mark.parametrize("name", ["id", "idempotency_key", "request_id"])
async def test_a_generation_is_asked_about_by_one_of_its_names(
    caller: Caller, decoding: ScriptedServer, name: str
) -> None:
    status = await caller.call("status", **{name: "mine"})

    assert status == GenerationStatus(
        id="gen-1", phase="decoding", queue_position=None, completion_tokens=7, elapsed_s=1.5, wait_s=None
    )
    assert decoding.asked == [pb.GetGenerationRequest(**{name: "mine"})]


@pytest.mark.parametrize(
    ("phase", "word", "position"),
    [
        (pb.GENERATION_PHASE_PREPARING, "preparing", None),
        (pb.GENERATION_PHASE_QUEUED, "queued", 0),
        (pb.GENERATION_PHASE_PREFILL, "prefill", None),
        (pb.GENERATION_PHASE_DECODING, "decoding", None),
        (pb.GENERATION_PHASE_ENDED, "ended", None),
        (pb.GENERATION_PHASE_UNSPECIFIED, "unspecified", None),
        (99, "unspecified", None),
    ],
)
async def test_each_phase_has_a_word_and_only_a_queue_has_positions(
    caller: Caller, server: ScriptedServer, phase: pb.GenerationPhase, word: str, position: int | None
) -> None:
    server.answers["GetGeneration"] = pb.GenerationStatus(id="gen-1", phase=phase)

    status = await caller.call("status", "gen-1")

    assert (status.phase, status.queue_position) == (word, position)


async def test_a_queued_generation_tells_its_place_and_its_wait(caller: Caller, server: ScriptedServer) -> None:
    server.answers["GetGeneration"] = pb.GenerationStatus(
        id="gen-1", phase=pb.GENERATION_PHASE_QUEUED, queue_position=4, wait_ms=2500
    )

    status = await caller.call("status", "gen-1")

    assert (status.queue_position, status.wait_s) == (4, 2.5)


async def test_a_generation_that_is_unknown_is_not_found(caller: Caller, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "GENERATION_NOT_FOUND")

    with pytest.raises(NotFoundError) as caught:
        await caller.call("status", "gen-9")

    assert caught.value.reason == "GENERATION_NOT_FOUND"


@pytest.mark.parametrize(
    "names", [{}, {"id": "a", "request_id": "b"}, {"id": ""}, {"id": None}, {"idempotency_key": ""}]
)
async def test_exactly_one_name_is_needed(caller: Caller, server: ScriptedServer, names: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"id or idempotency_key or request_id must be given|is empty"):
        await caller.call("status", **names)

    assert server.asked == []


async def test_a_name_must_be_text(caller: Caller) -> None:
    with pytest.raises(TypeError, match="id must be a str, not int"):
        await caller.call("status", 5)


async def test_a_stream_asks_by_the_id_of_its_first_chunk(caller: Caller, decoding: ScriptedServer) -> None:
    decoding.block_after = 1
    stream = caller.stream("Once", request_id="mine")
    await stream.read()

    status = await stream.call("status")

    assert status.phase == "decoding"
    assert decoding.asked == [pb.GetGenerationRequest(id="gen-1")]


@pytest.mark.parametrize("name", ["idempotency_key", "request_id"])
async def test_before_that_it_asks_by_a_name_of_its_request(
    caller: Caller, decoding: ScriptedServer, name: str
) -> None:
    decoding.block_after = 0
    stream = caller.stream("Once", **{name: "mine"})
    await decoding.blocked.wait()

    await stream.call("status")

    assert decoding.asked == [pb.GetGenerationRequest(**{name: "mine"})]
    await stream.close()


@pytest.fixture
def dead() -> Iterator[str]:
    """A replica whose port nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def test_a_replica_that_is_down_hides_no_generation_of_another(
    make_caller: MakeCaller, decoding: ScriptedServer, dead: str
) -> None:
    caller = make_caller([dead, decoding.target])

    assert (await caller.call("status", "gen-1")).phase == "decoding"


async def test_a_replica_that_drains_hides_no_generation_of_another(
    make_caller: MakeCaller, decoding: ScriptedServer
) -> None:
    draining = ScriptedServer()
    draining.refuse(grpc.StatusCode.UNAVAILABLE, "DRAINING")
    await draining.start()
    caller = make_caller([draining.target, decoding.target])

    assert (await caller.call("status", "gen-1")).phase == "decoding"
    await draining.stop()


async def test_a_generation_that_may_be_at_a_replica_that_is_down_is_not_said_to_be_unknown(
    make_caller: MakeCaller, server: ScriptedServer, dead: str
) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "GENERATION_NOT_FOUND")
    caller = make_caller([dead, server.target])

    with pytest.raises(APIConnectionError):
        await caller.call("status", "gen-1")
    assert len(server.asked) == 1


async def test_a_refusal_of_the_question_is_no_reason_to_ask_others(
    make_caller: MakeCaller, decoding: ScriptedServer
) -> None:
    strict = ScriptedServer()
    strict.refuse(grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")
    await strict.start()
    caller = make_caller([strict.target, decoding.target])

    with pytest.raises(PermissionDeniedError):
        await caller.call("status", "gen-1")
    await strict.stop()
