"""Carries out plans on raw stubs, so that no retry hides anything, and notes every call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import grpc

from penstock.v1 import generation_pb2 as pb
from tests.faults.client_caller import call_by_client
from tests.faults.history import ClientCall, End, Expected, Message, trace_of, traceparent
from tests.faults.paths import Path, Paths, end_of, reason_of
from tests.faults.plans import Plan, bad_request, batched, inputs_of, sentence
from tests.faults.session_caller import SessionCaller

HANG_SECONDS = 60.0
UNREAD_SECONDS = 2.5
_MOST_RESUMES = 5
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Callers:
    """Everything that calls the server. `ended` gets each call once it is over."""

    def __init__(self, paths: Paths, context_length: int, ended: Callable[[ClientCall], None]) -> None:
        self._paths = paths.all
        self._context_length = context_length
        self._ended = ended
        self._ways: dict[str, Callable[[Plan, Path], Awaitable[object]]] = {
            "generate": lambda plan, path: self._unary(plan, path, plan.request),
            "stream": lambda plan, path: self._stream(plan, path, plan.request),
            "unread": lambda plan, path: self._stream(plan, path, plan.request),
            "batch": lambda plan, path: self._unary(plan, path, batched(plan.rng)),
            "session": lambda plan, path: SessionCaller(plan, path, self.begun, ended).run(),
            "resumable": self._resumable,
            "same key": self._same_key,
            "bad": self._bad,
            "client": lambda plan, path: call_by_client(plan, path, self.begun, ended),
            "lookup": self._lookup,
        }

    numbers = count(1)  # traces are never used again

    async def carry_out(self, plan: Plan) -> None:
        """Do what the plan says, to its end."""
        path = self._paths[plan.path % len(self._paths)]
        await self._ways[plan.kind](plan, path)

    def begun(self, kind: str, path: Path, request: pb.GenerateRequest | None = None) -> ClientCall:
        """A new call; `request` is what its output is expected for."""
        expected = None if request is None else Expected.of(request, self._context_length)
        return ClientCall(trace_of(next(self.numbers)), kind, path.name, expected, sent=time.monotonic())

    # Kinds of calls.

    async def _unary(self, plan: Plan, path: Path, request: pb.GenerateRequest) -> None:
        batch = request.WhichOneof("input") == "batch"
        call = self.begun(plan.kind, path, None if batch else request)
        rpc = next(path.stubs).Generate(request, **_terms(call, plan))
        reply = await self._finished(call, rpc, plan)
        if reply is not None and batch:
            call.inputs = len(reply.results)
            for one, result in zip(inputs_of(request), reply.results, strict=True):
                self._input(path, one, result)
        elif reply is not None:
            call.messages.append(_message(reply))
        self._ended(call)

    def _input(self, path: Path, request: pb.GenerateRequest, result: pb.BatchResult) -> None:
        call = self.begun("input", path, request)
        if result.HasField("response"):
            call.messages.append(_message(result.response))
            call.ends.append(End(time.monotonic(), grpc.StatusCode.OK))
        else:
            reason = reason_of(result.status.details)
            call.ends.append(End(time.monotonic(), _CODES[result.status.code], reason, result.status.message))
        self._ended(call)

    async def _stream(self, plan: Plan, path: Path, request: pb.GenerateRequest) -> tuple[str, ClientCall]:
        """Read a stream as the plan says; the generation's id, as far as it came."""
        call = self.begun(plan.kind, path, request)
        stub = path.unread if plan.kind == "unread" else next(path.stubs)
        generation = await self._read(call, stub.StreamGenerate(request, **_terms(call, plan)), plan)
        self._ended(call)
        return generation, call

    async def _resumable(self, plan: Plan, path: Path) -> None:
        request = plan.request
        request.resumable = True
        generation, call = await self._stream(plan, path, request)
        if generation and plan.rng.random() < 0.1:
            await self._plain(path, "Cancel", pb.CancelRequest(id=generation))
        for _ in range(_MOST_RESUMES):
            if not generation or not call.ends or call.ends[0].ours:
                break
            call = await self._resume(path, generation, call, request)
        if generation and plan.rng.random() < 0.2:
            again = self.begun("resume", path, request)
            again.partial = call.partial
            await self._resume(path, generation, again, request)

    async def _resume(self, path: Path, generation: str, before: ClientCall, request: pb.GenerateRequest) -> ClientCall:
        """Read on after what has come before."""
        call = self.begun("resume", path, request)
        call.first_seq, call.first_token = before.first_seq + len(before.messages), before.tokens
        call.first_finish, call.partial = before.finish, before.partial
        asked = pb.ResumeRequest(id=generation, next_seq=call.first_seq)
        await self._read(call, next(path.stubs).Resume(asked, metadata=_metadata(call)), None)
        self._ended(call)
        return call

    async def _same_key(self, plan: Plan, path: Path) -> None:
        """Two attempts that mean the same, at once; sometimes a third that does not."""
        requests = [_copy(plan.request) for _ in range(2)]
        if plan.rng.random() < 0.1:
            requests.append(_copy(plan.request))
            requests[-1].stopping.max_tokens += 1
        for request in requests:
            request.idempotency_key = f"chaos-{plan.number}"
        call = self._stream if plan.rng.random() < 0.5 else self._unary
        await asyncio.gather(*(call(plan, path, request) for request in requests))

    async def _bad(self, plan: Plan, path: Path) -> None:
        call = self.begun("too large" if plan.bad == "too large" else "bad", path)
        stub, metadata = next(path.stubs), _metadata(call)
        request = bad_request(plan.bad, plan.rng)
        match plan.bad:
            case "bytes":
                rpc = stub.raw(b"\xff\xff\xff", metadata=metadata)
            case "resume":
                rpc = stub.Resume(pb.ResumeRequest(id="0" * 32), metadata=metadata)
            case "batch":
                rpc = stub.StreamGenerate(request, metadata=metadata)
            case _:
                rpc = stub.Generate(request, metadata=metadata)
        if isinstance(rpc, grpc.aio.UnaryStreamCall):
            await self._read(call, rpc, None)
        else:
            await self._finished(call, rpc, None)
        self._ended(call)

    async def _lookup(self, plan: Plan, path: Path) -> None:
        match plan.rng.randrange(4):
            case 0:
                await self._plain(path, "Estimate", pb.EstimateRequest(request=plan.request))
            case 1:
                await self._plain(path, "Tokenize", pb.TokenizeRequest(prompt=sentence(plan.rng)))
            case 2:
                await self._plain(path, "GetGeneration", pb.GetGenerationRequest(id="0" * 32))
            case _:
                await self._plain(path, "Cancel", pb.CancelRequest(id="0" * 32))

    async def _plain(self, path: Path, method: str, request: object) -> None:
        call = self.begun(method, path)
        rpc = getattr(next(path.stubs), method)(request, metadata=_metadata(call))
        await self._finished(call, rpc, None)
        self._ended(call)

    # How they are read.

    async def _finished(self, call: ClientCall, rpc: Any, plan: Plan | None) -> Any:
        """The reply of a unary call; None if it failed."""
        _give_up_later(call, rpc, plan)
        try:
            async with asyncio.timeout(HANG_SECONDS):
                reply = await rpc
                call.ends.append(await end_of(rpc))
                return reply
        except TimeoutError:
            rpc.cancel()  # without an end, which is a break
        except (grpc.RpcError, asyncio.CancelledError):
            _pass_on_cancellation()
            call.ends.append(await end_of(rpc))
        return None

    async def _read(self, call: ClientCall, rpc: Any, plan: Plan | None) -> str:
        """Read a stream to its end; the generation's id."""
        generation = ""
        _give_up_later(call, rpc, plan)
        try:
            async with asyncio.timeout(HANG_SECONDS):
                while (chunk := await rpc.read()) is not grpc.aio.EOF:
                    generation = generation or chunk.id
                    call.add(chunk, time.monotonic())
                    await _between_chunks(call, rpc, plan)
                call.ends.append(await end_of(rpc))
        except TimeoutError:
            rpc.cancel()
        except (grpc.RpcError, asyncio.CancelledError):
            _pass_on_cancellation()
            call.ends.append(await end_of(rpc))
        return generation


async def _between_chunks(call: ClientCall, rpc: Any, plan: Plan | None) -> None:
    if plan is None:
        return
    if plan.kind == "unread" and len(call.messages) == 1:
        await asyncio.sleep(UNREAD_SECONDS)
    if plan.cancel_after_chunks == len(call.messages):
        call.cancelled = True
        rpc.cancel()


def _give_up_later(call: ClientCall, rpc: Any, plan: Plan | None) -> None:
    def give_up() -> None:
        if not rpc.done():
            call.cancelled = True
            rpc.cancel()

    if plan is not None and plan.cancel_after_chunks == 0:
        give_up()
    elif plan is not None and plan.cancel_after_seconds is not None:
        asyncio.get_running_loop().call_later(plan.cancel_after_seconds, give_up)


def _pass_on_cancellation() -> None:
    """Raise again if this task was cancelled, and not the RPC."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _terms(call: ClientCall, plan: Plan) -> dict[str, Any]:
    call.deadline = plan.deadline
    call.partial = plan.deadline is not None and plan.request.on_deadline == pb.ON_DEADLINE_RETURN_PARTIAL
    return {"timeout": plan.deadline, "metadata": _metadata(call)}


def _metadata(call: ClientCall) -> list[tuple[str, str]]:
    return [("traceparent", traceparent(call.trace))]


def _message(reply: pb.GenerateResponse) -> Message:
    (sequence,) = reply.sequences
    usage = (reply.usage.prompt_tokens, reply.usage.completion_tokens)
    return Message(time.monotonic(), 0, 0, tuple(sequence.token_ids), sequence.text, sequence.finish.reason, usage)


def _copy(request: pb.GenerateRequest) -> pb.GenerateRequest:
    copy = pb.GenerateRequest()
    copy.CopyFrom(request)
    return copy
