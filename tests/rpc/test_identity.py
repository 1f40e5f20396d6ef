"""Who may call, once the service knows tenants: nobody else, by any method, and no tenant sees another's."""

import asyncio
import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

import penstock.v1
from penstock import AsyncClient, AuthenticationError, PermissionDeniedError
from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2
from tests.conftest import OpenService, Running, eventually
from tests.faults.h2.connection import GENERATE, connected, grpc_headers, grpc_message
from tests.rpc.error_details import failure_in, failure_of
from tests.rpc.identities import ADMIN_KEY, KEY, OTHER_KEY, bearer, sha256, two_tenants, write_identity
from tests.rpc.session_user import SessionUser

PROMPT = pb.GenerateRequest(prompt="Hello", stopping={"max_tokens": 4})
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# Bytes that are no message: whoever looks at them answers INVALID_ARGUMENT.
UNAUTHENTICATED, NO_ERROR = 16, 0
NO_MESSAGE = b"\xff"


def _services() -> Iterable[ServiceDescriptor]:
    for module in pkgutil.iter_modules(penstock.v1.__path__):
        if module.name.endswith("_pb2"):
            yield from importlib.import_module(f"penstock.v1.{module.name}").DESCRIPTOR.services_by_name.values()


METHODS = [f"/{service.full_name}/{method.name}" for service in _services() for method in service.methods]


@pytest.fixture
async def guarded(open_service: OpenService, tmp_path: Path) -> Running:
    """A service with two tenants."""
    return await open_service(identity_file=two_tenants(tmp_path / "identity.toml"))


async def status_before_a_message(running: Running, method: str, key: str | None) -> grpc.StatusCode:
    """What the method answers to a caller who has sent nothing of a request."""
    call = running.channel.stream_stream(method)(metadata=bearer(key) if key else ())
    code: grpc.StatusCode = await call.code()
    return code


async def status_of_no_message(running: Running, method: str, key: str) -> grpc.StatusCode:
    """What the method answers to bytes that are no message."""
    code: grpc.StatusCode = await running.channel.unary_unary(method)(NO_MESSAGE, metadata=bearer(key)).code()
    return code


@pytest.mark.parametrize("key", [None, "psk_wrong", ADMIN_KEY])
async def test_no_method_answers_who_is_not_known(guarded: Running, key: str | None) -> None:
    methods = [*METHODS, REFLECTION, "/penstock.v1.Generation/Nothing", "/nothing/Nothing"]

    codes = {method: await status_before_a_message(guarded, method, key) for method in methods}

    assert codes == dict.fromkeys(methods, grpc.StatusCode.UNAUTHENTICATED)


async def test_whoever_is_known_gets_further_than_the_door(guarded: Running) -> None:
    generate = await status_of_no_message(guarded, "/penstock.v1.Generation/Generate", KEY)

    assert generate is grpc.StatusCode.INVALID_ARGUMENT
    assert await status_of_no_message(guarded, "/nothing/Nothing", KEY) is grpc.StatusCode.UNIMPLEMENTED
    assert (await guarded.generation.Generate(PROMPT, metadata=bearer(OTHER_KEY))).usage.completion_tokens == 4


async def test_health_is_told_to_everybody(guarded: Running) -> None:
    reply = await health_pb2_grpc.HealthStub(guarded.channel).Check(health_pb2.HealthCheckRequest())

    assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_without_tenants_anybody_may_call_and_a_key_is_not_looked_at(simulated: Running) -> None:
    assert (await simulated.generation.Generate(PROMPT)).id
    assert (await simulated.generation.Generate(PROMPT, metadata=bearer("anything"))).id


NO_KEYS_OF_OURS = (
    *("", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", KEY, f"Bearer  {KEY}", f"Bearer {KEY} x", f"Bearer,{KEY}"),
    *(f"Bearer {KEY.upper()}", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", "Bearer " + "k" * 8000, "Bearer \x21~\x7e"),
    f"Bearer {sha256(KEY)}",
)


async def test_what_is_no_key_of_ours_is_refused_whatever_it_looks_like(guarded: Running) -> None:
    for authorization in NO_KEYS_OF_OURS:
        failure = await failure_of(guarded.generation.Generate(PROMPT, metadata=(("authorization", authorization),)))

        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"), authorization
        assert failure.domain == "penstock"
        assert "psk_" not in failure.text
        assert sha256(KEY) not in failure.text


async def test_two_authorizations_are_none(guarded: Running) -> None:
    failure = await failure_of(guarded.generation.Generate(PROMPT, metadata=bearer(KEY) + bearer(KEY)))

    assert failure.code is grpc.StatusCode.UNAUTHENTICATED
    assert "several" in failure.text


async def test_the_name_of_the_scheme_may_be_written_in_any_case(guarded: Running) -> None:
    assert (await guarded.generation.Generate(PROMPT, metadata=(("authorization", f"bEARER {KEY}"),))).id


async def test_a_large_request_of_a_stranger_is_not_even_received(guarded: Running) -> None:
    headers = grpc_headers(GENERATE, *bearer("psk_wrong"))
    async with connected(guarded.address) as connection:
        alone = await connection.answered(connection.begin(headers))
        stream = connection.begin(headers)
        window = connection.window(stream)
        connection.send_data(stream, grpc_message(bytes(window - 5), length=31 << 20), end=False)
        large = await connection.answered(stream)

        assert alone.status == large.status == UNAUTHENTICATED
        # Told to send no more, long before all of it could have been sent.
        assert large.reset == NO_ERROR
        assert window + connection.window(stream) < 16 << 20


async def test_refusals_are_logged_at_a_bounded_rate_and_without_the_key(guarded: Running) -> None:
    with capture_logs() as lines:
        for number in range(20):
            await status_before_a_message(guarded, METHODS[0], f"psk_canary{number}")
        await status_before_a_message(guarded, "/canary/Method", "psk_canary")

    refused = [line for line in lines if line["event"] == "refused"]
    assert 1 <= len(refused) <= 10
    assert (refused[0]["method"], refused[0]["reason"]) == (METHODS[0].removeprefix("/"), "UNAUTHENTICATED")
    assert "canary" not in str(lines)


@pytest.mark.parametrize("sessions", ["always", "never"])
async def test_our_client_raises_the_errors_that_say_so(guarded: Running, sessions: Any) -> None:
    async with AsyncClient(guarded.address, api_key="psk_wrong", sessions=sessions) as client:
        with pytest.raises(AuthenticationError):
            await client.generate("Hello")
        with pytest.raises(AuthenticationError):
            await client.stream("Hello").reply()
    async with AsyncClient(guarded.address, api_key=OTHER_KEY, sessions=sessions) as client:
        assert (await client.generate("Hello", max_tokens=4)).text
        assert (await client.stream("Hello", max_tokens=4).reply()).text
        with pytest.raises(PermissionDeniedError):
            await client.models.set_alias("a", "b")


async def test_the_log_line_of_a_call_has_its_tenant(guarded: Running) -> None:
    with capture_logs() as lines:
        await guarded.generation.Generate(PROMPT, metadata=bearer(OTHER_KEY))
        await eventually(lambda: any(line["event"] == "call" for line in lines))

    (line,) = (line for line in lines if line["event"] == "call")
    assert line["tenant"] == "second"


async def test_the_calls_of_a_session_are_its_tenants(guarded: Running) -> None:
    session = guarded.generation.Session(metadata=bearer(OTHER_KEY))

    with capture_logs() as lines:
        await session.write(pb.SessionRequest(start=pb.StartCall(call=1, request=PROMPT)))
        await session.done_writing()
        while await session.read() is not grpc.aio.EOF:
            pass
        await eventually(lambda: sum(line["event"] == "call" for line in lines) == 2)

    assert {line["tenant"] for line in lines if line["event"] == "call"} == {"second"}


async def test_a_new_file_counts_while_the_service_runs(open_service: OpenService, tmp_path: Path) -> None:
    path = write_identity(tmp_path / "identity.toml", {"name": "one", "keys": ["psk_old"]})
    running = await open_service(identity_file=path)
    await _let_in(running, "psk_old")

    write_identity(path, {"name": "one", "keys": ["psk_old", "psk_new"]})
    await _let_in(running, "psk_new")
    await _let_in(running, "psk_old")
    write_identity(path, {"name": "one", "keys": ["psk_new"]})
    await _kept_out(running, "psk_old")
    await _let_in(running, "psk_new")


async def test_a_session_takes_no_further_call_once_its_key_is_withdrawn(
    open_service: OpenService, tmp_path: Path
) -> None:
    path = write_identity(tmp_path / "identity.toml", {"name": "one", "keys": ["psk_old", "psk_new"]})
    running = await open_service(identity_file=path)

    async with SessionUser(running, metadata=bearer("psk_old")) as user:
        await user.start(1, PROMPT)
        assert not (await user.outcome(1)).HasField("status")
        write_identity(path, {"name": "one", "keys": ["psk_new"]})
        await _kept_out(running, "psk_old")
        await user.start(2, PROMPT)
        refused = failure_in((await user.outcome(2)).status)

    assert refused.reason == "UNAUTHENTICATED"


async def test_a_session_of_nobody_takes_no_further_call_once_there_are_tenants(
    open_service: OpenService, tmp_path: Path
) -> None:
    path = write_identity(tmp_path / "identity.toml", admin=(ADMIN_KEY,))
    with capture_logs() as lines:
        running = await open_service(identity_file=path)

    async with SessionUser(running) as user:
        await user.start(1, PROMPT)
        assert not (await user.outcome(1)).HasField("status")
        two_tenants(path)
        await _kept_out(running, "psk_wrong")
        await user.start(2, PROMPT)
        refused = failure_in((await user.outcome(2)).status)

    assert refused.reason == "UNAUTHENTICATED"
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == [
        "anybody may call: there are no tenants yet"
    ]


async def test_a_new_file_that_is_wrong_changes_nothing_and_is_told_in_the_log(
    open_service: OpenService, tmp_path: Path
) -> None:
    path = two_tenants(tmp_path / "identity.toml")
    running = await open_service(identity_file=path)

    with capture_logs() as lines:
        path.write_text(f'[[tenants]]\nname = "first"\nkeys = ["{KEY}"]\n')
        while not (errors := [line for line in lines if line["log_level"] == "error"]):
            await _let_in(running, KEY)

    assert "tenants[0].keys[0]: must be the SHA-256 of a key" in errors[0]["error"]
    assert KEY not in str(errors)


async def test_to_lose_all_tenants_opens_the_service_to_nobody(open_service: OpenService, tmp_path: Path) -> None:
    path = two_tenants(tmp_path / "identity.toml")
    running = await open_service(identity_file=path)

    write_identity(path)

    await _kept_out(running, KEY)
    assert (await failure_of(running.generation.Generate(PROMPT))).code is grpc.StatusCode.UNAUTHENTICATED


async def test_keys_can_come_from_the_environment_alone(open_service: OpenService) -> None:
    running = await open_service(api_keys=(f"one:{sha256('psk_a')}", f"one:{sha256('psk_b')}"))

    await _let_in(running, "psk_a")
    await _let_in(running, "psk_b")
    assert (await failure_of(running.generation.Generate(PROMPT))).code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("LoadAdapter", models_pb2.LoadAdapterRequest(name="a", version="1")),
        ("UnloadAdapter", models_pb2.UnloadAdapterRequest(name="a", version="1")),
        ("SetAlias", models_pb2.SetAliasRequest(alias="a", target="")),
    ],
)
async def test_only_who_may_manage_the_models_does(guarded: Running, method: str, request_: Any) -> None:
    call = getattr(guarded.models, method)

    failure = await failure_of(call(request_, metadata=bearer(OTHER_KEY)))
    assert (failure.code, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    permitted = call(request_, metadata=bearer(KEY))
    assert await permitted.code() is not grpc.StatusCode.PERMISSION_DENIED


async def test_what_a_tenant_generates_is_no_other_tenants(guarded: Running) -> None:
    kept = pb.GenerateRequest(prompt="Hello", resumable=True, idempotency_key="order-7", request_id="mine")
    kept.stopping.max_tokens = 4
    chunks = [chunk async for chunk in guarded.generation.StreamGenerate(kept, metadata=bearer(KEY))]
    plain = await guarded.generation.Generate(PROMPT, metadata=bearer(KEY))

    for name in ({"id": chunks[0].id}, {"id": plain.id}, {"idempotency_key": "order-7"}, {"request_id": "mine"}):
        ask = guarded.generation.GetGeneration
        assert (await ask(pb.GetGenerationRequest(**name), metadata=bearer(KEY))).id in (chunks[0].id, plain.id)
        await _found_by_nobody(ask(pb.GetGenerationRequest(**name), metadata=bearer(OTHER_KEY)))
    for name in ({"id": chunks[0].id}, {"id": plain.id}, {"idempotency_key": "order-7"}):
        await _found_by_nobody(guarded.generation.Cancel(pb.CancelRequest(**name), metadata=bearer(OTHER_KEY)))
        await guarded.generation.Cancel(pb.CancelRequest(**name), metadata=bearer(KEY))
    resume = pb.ResumeRequest(id=chunks[0].id)
    await _found_by_nobody(guarded.generation.Resume(resume, metadata=bearer(OTHER_KEY)))
    assert [chunk async for chunk in guarded.generation.Resume(resume, metadata=bearer(KEY))] == chunks


async def test_an_idempotency_key_means_another_generation_for_another_tenant(guarded: Running) -> None:
    request = pb.GenerateRequest(prompt="Hello", idempotency_key="order-7", stopping={"max_tokens": 4})

    first, again, others = [
        (await guarded.generation.Generate(request, metadata=bearer(key))).id for key in (KEY, KEY, OTHER_KEY)
    ]

    assert first == again != others


async def test_a_tenant_cannot_end_what_another_is_reading(open_service: OpenService, tmp_path: Path) -> None:
    slow = {"step_time_ms": 60_000}
    running = await open_service(identity_file=two_tenants(tmp_path / "identity.toml"), simulated=slow)
    named = pb.GenerateRequest(prompt="Hello", request_id="mine")
    call = running.generation.Generate(named, metadata=bearer(KEY))
    ask = pb.GetGenerationRequest(request_id="mine")
    await eventually(lambda: running.engine.running == 1)
    running_id = (await running.generation.GetGeneration(ask, metadata=bearer(KEY))).id

    await _found_by_nobody(running.generation.Cancel(pb.CancelRequest(id=running_id), metadata=bearer(OTHER_KEY)))

    assert not call.done()
    await running.generation.Cancel(pb.CancelRequest(id=running_id), metadata=bearer(KEY))
    assert await call.code() is grpc.StatusCode.CANCELLED


async def _found_by_nobody(call: grpc.aio.Call) -> None:
    failure = await failure_of(call)
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "GENERATION_NOT_FOUND")


async def _let_in(running: Running, key: str) -> None:
    """The key counts within the five seconds that are promised."""
    await _until(running, key, grpc.StatusCode.OK)


async def _kept_out(running: Running, key: str) -> None:
    await _until(running, key, grpc.StatusCode.UNAUTHENTICATED)


async def _until(running: Running, key: str, code: grpc.StatusCode) -> None:
    async with asyncio.timeout(5):
        while await running.generation.Generate(PROMPT, metadata=bearer(key)).code() is not code:  # noqa: ASYNC110 - files have no events
            await asyncio.sleep(0.05)
