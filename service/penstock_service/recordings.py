"""The door to generations that outlive their connections: begun once, joined by key, read by anyone, ended by name."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import NamedTuple

from penstock.v1.generation_pb2 import GenerateChunk, GenerateRequest, GenerateResponse, ResumeRequest
from penstock_service.answer import recorded
from penstock_service.batches import answer_batch, answer_in_one_chunk
from penstock_service.call import Call
from penstock_service.errors import Cancelled, ChunksGone, FeatureOff, GenerationNotFound, KeyReused, ServiceError
from penstock_service.follower import Follower
from penstock_service.generations import Generations
from penstock_service.kept_recordings import KeptRecordings
from penstock_service.lifecycle import Lifecycle
from penstock_service.limits import check_names
from penstock_service.pacing import Pace
from penstock_service.reading import Reader
from penstock_service.recording import Recording
from penstock_service.stalls import StallWatch
from penstock_service.stream_reader import StreamReader, ends_where_interrupted
from penstock_service.telemetry import Telemetry
from penstock_service.whole_answer import response_of

# Not what is asked for, but who asks.
_NAMES_OF_A_CALL = ("request_id", "idempotency_key")

Record = Callable[[GenerateRequest, Recording, Call], Awaitable[None]]


class KeepingTerms(NamedTuple):
    """How long, and how much of, a generation is kept for readers that may come back."""

    grace_seconds: float  # without a reader, and after the end; 0 for a server that keeps none
    most_bytes: int
    most_bytes_each: int


def outlives_its_connection(request: GenerateRequest) -> bool:
    """Whether the generation is the server's own, and its calls only follow it."""
    return request.resumable or bool(request.idempotency_key)


class Recordings:
    """Runs such generations, each in a task of its own, and lets calls follow them."""

    def __init__(
        self,
        generations: Generations,
        lifecycle: Lifecycle,
        telemetry: Telemetry,
        stalls: StallWatch,
        pace: Pace,
        terms: KeepingTerms,
    ) -> None:
        self._generations = generations
        self._lifecycle = lifecycle
        self._telemetry = telemetry
        self._stalls = stalls
        self._pace = pace
        self._grace_seconds = terms.grace_seconds
        self.kept = KeptRecordings(terms.most_bytes, terms.most_bytes_each)

    # What calls do.

    @asynccontextmanager
    async def open(self, request: GenerateRequest, call: Call, reader: Reader) -> AsyncIterator[Follower]:
        """The stream of a request, its own or the one that its key names, from the beginning."""
        recording, seconds = self._begun_or_joined(request, call, self._stream, streamed=True)
        with self._following(Follower(recording, 0, reader, request.request_id), call, reader, seconds) as follower:
            yield follower

    async def whole(self, request: GenerateRequest, call: Call) -> GenerateResponse:
        """The reply to a request, its own or the one that its key names."""
        record = self._answer_batch if request.WhichOneof("input") == "batch" else self._answer
        recording, seconds = self._begun_or_joined(request, call, record, streamed=False)
        reader = StreamReader()
        with self._following(Follower(recording, 0, reader), call, reader, seconds):
            await reader.end()
        return _reply(recording, request.request_id)

    @asynccontextmanager
    async def resumed(self, request: ResumeRequest, call: Call, reader: Reader) -> AsyncIterator[Follower]:
        """The stream of a generation that is kept, from `next_seq` on."""
        recording = self.kept.find_for(call.tenant.name, request.id)
        if recording is None or recording.batch:
            raise GenerationNotFound("id", request.id)
        _check_place(recording, request.next_seq)
        follower = Follower(recording, request.next_seq, reader)
        with self._following(follower, call, reader, call.seconds_left()):
            yield follower

    def cancel(self, recording: Recording) -> None:
        """End it for all its readers, if it has not ended."""
        if (generation := self._generations.index.find(recording.id)) is not None:
            generation.cancel()
        elif not recording.over and recording.task is not None:
            recording.task.cancel()

    # How they begin and end.

    def _begun_or_joined(
        self, request: GenerateRequest, call: Call, record: Record, streamed: bool
    ) -> tuple[Recording, float | None]:
        """The recording, and how long a call that joins it may still take: it began with other calls' time."""
        if not self._grace_seconds:
            field = "resumable" if request.resumable else "idempotency_key"
            raise FeatureOff(f"{field}: no generation outlives its call here; this server's operator set no grace time")
        fingerprint = fingerprint_of(request, streamed)
        if (known := self.kept.find_by_key(call.tenant.name, request.idempotency_key)) is None:
            return self._begun(request, call, record, fingerprint), None
        if known.fingerprint != fingerprint:
            raise KeyReused(request.idempotency_key)
        check_names(request)  # the rest is as it was when it was checked
        _check_place(known, 0)
        return known, call.seconds_left()

    def _begun(self, request: GenerateRequest, call: Call, record: Record, fingerprint: bytes) -> Recording:
        own = Call(call.method, call.deadline, call.tenant, received=call.received, session=call.session)
        recording = Recording(own, fingerprint, batch=request.WhichOneof("input") == "batch")
        self.kept.add(recording, request.idempotency_key)
        recording.task = asyncio.create_task(self._run(request, recording, own, record), name="recording")
        recording.task.add_done_callback(partial(self._ended, recording))
        return recording

    async def _run(
        self, request: GenerateRequest, recording: Recording, call: Call, record: Record
    ) -> ServiceError | None:
        return await recorded(self._telemetry, call, self._telemetry.origin(), record(request, recording, call))

    async def _stream(self, request: GenerateRequest, recording: Recording, call: Call) -> None:
        longest = self._pace.longest(request)
        reader = StreamReader()
        async with self._generations.open(request, call, reader, streamed=True):
            while (chunk := await reader.next()) is not None:
                self.kept.append(recording, chunk.SerializeToString())
                await reader.gather(self._pace.delay_seconds(longest))

    async def _answer(self, request: GenerateRequest, recording: Recording, call: Call) -> None:
        chunk = await answer_in_one_chunk(request, call, self._generations)
        self.kept.append(recording, chunk.SerializeToString())

    async def _answer_batch(self, request: GenerateRequest, recording: Recording, call: Call) -> None:
        reply = await answer_batch(request, call, self._generations, self._telemetry)
        self.kept.append(recording, reply.SerializeToString())

    def _ended(self, recording: Recording, task: "asyncio.Task[ServiceError | None]") -> None:
        error = Cancelled() if task.cancelled() else task.result()
        index = self._generations.index
        status = index.batch_status(recording.id) if recording.batch else index.status(recording.id)
        recording.end(error, status)
        if error is not None and not recording.count and not isinstance(error, Cancelled):
            self.kept.forget(recording)  # a further attempt is to run
        self._settle(recording)

    # Who reads them.

    @contextmanager
    def _following(self, follower: Follower, call: Call, reader: Reader, seconds: float | None) -> Iterator[Follower]:
        """The block reads the recording to its end, for `seconds` at most; what it ended with is raised after that."""
        call.generation = follower.recording.id
        call.ends_in_time()
        with (
            self._lifecycle.counted(),
            self._stalls.watching(follower),
            self._among_readers(follower, seconds),
            ends_where_interrupted(reader),
        ):
            yield follower
        if follower.error is not None:
            raise follower.error.with_traceback(None)  # others raise the same one

    @contextmanager
    def _among_readers(self, follower: Follower, seconds: float | None) -> Iterator[None]:
        recording = follower.recording
        recording.readers.add(follower)
        self._settle(recording)
        timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, follower.late)
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            recording.readers.discard(follower)
            self._settle(recording)

    def _settle(self, recording: Recording) -> None:
        """Start the grace time of a recording that is kept and that nobody reads, and stop it when somebody does."""
        self.kept.settle(recording)
        recording.end_grace()
        if not recording.readers and self.kept.find(recording.id) is recording:
            later = asyncio.get_running_loop().call_later
            recording.grace = later(self._grace_seconds, self._give_up, recording)

    def _give_up(self, recording: Recording) -> None:
        self.kept.forget(recording)
        self.cancel(recording)


def fingerprint_of(request: GenerateRequest, streamed: bool) -> bytes:
    """What two requests of the same idempotency key must have in common: all but the names of their calls.

    A stream and a unary call are different requests, since what one returns cannot be returned by the other.
    """
    asked = GenerateRequest()
    asked.CopyFrom(request)
    for field in _NAMES_OF_A_CALL:
        asked.ClearField(field)
    return hashlib.sha256(bytes([streamed]) + asked.SerializeToString(deterministic=True)).digest()


def _check_place(recording: Recording, next_seq: int) -> None:
    if not recording.first <= next_seq <= recording.count:
        raise ChunksGone(next_seq, recording.first, recording.count)


def _reply(recording: Recording, request_id: str) -> GenerateResponse:
    message = recording.message(0)
    reply = GenerateResponse.FromString(message) if recording.batch else response_of(GenerateChunk.FromString(message))
    reply.request_id = request_id
    return reply
