"""One job as the sequences that it generates, each a request of vLLM's, with what each token was and what it means.

vLLM's own `n` makes the same requests from one; made here, they run the same two ways as every other.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.base import Ending, Job, Receiver
from penstock_service.engine.vllm.answer_parsers import AnswerParser
from penstock_service.engine.vllm.logprobs import LogprobRecords
from penstock_service.engine.vllm.requests import Prepared, Requests
from penstock_service.engine.vllm.translation import seed_for_vllm
from penstock_service.errors import ServiceError

log = structlog.get_logger()


class Sequences:
    """The sequences of one job; they deliver deltas to its receiver."""

    def __init__(self, job: Job, receiver: Receiver, requests: Requests, forget: Callable[[str], object]) -> None:
        self._job = job
        self._receiver = receiver
        self._requests = requests
        self._forget = forget
        self._sequences: list[_Sequence] = []
        self._ended = False
        self.wants_prompt = True

    async def start(
        self, prepared: Prepared, parser: Callable[[], AnswerParser] | None, records: LogprobRecords
    ) -> None:
        """Hand all of them to the engine. Raises what vLLM raises; nothing is left then."""
        count = self._job.request.num_sequences or 1
        self._sequences = [_Sequence(self, self._job, index, parser and parser(), records) for index in range(count)]
        try:
            for sequence in self._sequences:
                if not self._ended:
                    await self._requests.add(sequence.job, _seeded(prepared, sequence.index), sequence)
            if self._ended:  # while the last one was handed over
                for sequence in self._sequences:
                    sequence.abort(self._requests)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> Ending | None:
        """Stop them; what was not delivered is returned, None if they had all ended."""
        if self._ended:
            return None
        self._ended = True
        self._forget(self._job.id)
        for sequence in self._sequences:
            sequence.abort(self._requests)
        return self._ending()

    @property
    def tokens(self) -> int:
        """How many they have so far, together."""
        return sum(sequence.tokens(self._requests) for sequence in self._sequences)

    # For a sequence.

    def put(self, delta: pb.SequenceDelta) -> None:
        """A sequence has more."""
        if not self._ended:
            self._receiver.put_delta(delta)

    def put_prompt(self, tokens: Sequence[pb.TokenInfo]) -> None:
        """The prompt's tokens, from whichever sequence has them first: before anything of it is delivered."""
        self.wants_prompt = False
        if not self._ended:
            self._receiver.begins(pb.GenerateChunk(prompt=tokens))

    def one_ended(self) -> None:
        """A sequence is complete."""
        if not self._ended and all(sequence.ended for sequence in self._sequences):
            self._ended = True
            self._forget(self._job.id)
            self._receiver.finished(self._ending(), None)

    def one_failed(self, error: ServiceError | Exception) -> None:
        """A sequence cannot go on, and the others are of no use without it."""
        if not self._ended:
            ending = self.abort()
            self._receiver.failed(error, ending)

    def _ending(self) -> Ending:
        endings = [sequence.ending for sequence in self._sequences if sequence.ending is not None]
        deltas = [delta for sequence in self._sequences if (delta := sequence.rest()) is not None]
        usage, timings = pb.Usage(), pb.Timings()
        for ending in endings:
            _add(usage, ending.usage)
            _join(timings, ending.timings)
        if timings.generation_time_ms:
            timings.tokens_per_second = 1000 * usage.completion_tokens / timings.generation_time_ms
        reasoning = [tokens for each in self._sequences if (tokens := each.reasoning_tokens()) is not None]
        if reasoning:
            usage.reasoning_tokens = sum(reasoning)
        return Ending("", (), usage, timings, deltas)


class _Sequence:
    """One sequence: takes its request's output and makes deltas of it."""

    def __init__(
        self, owner: Sequences, job: Job, index: int, parser: AnswerParser | None, records: LogprobRecords
    ) -> None:
        self.index = index
        self.job = dataclasses.replace(job, id=f"{job.id}-{index}")
        self.ending: Ending | None = None
        self.ended = False
        self._owner = owner
        self._parser = parser
        self._records = records
        self._response = job.request.response
        self._tokens: list[pb.TokenInfo] = []  # not delivered yet
        self._token_ids: list[int] = []  # all of them, for the parser's count
        self._text, self._new_token_ids = "", list[int]()  # of a job that is not streamed

    # What its request delivers (engine.base.Receiver, and logprobs before each put).

    def take_logprobs(self, token_ids: Sequence[int], found: Sequence[Mapping[int, Any] | None]) -> None:
        """What vLLM tells of new tokens."""
        self._tokens += self._records.of(token_ids, found, self._response.logprobs)

    def take_prompt_logprobs(self, token_ids: Sequence[int], found: Sequence[Mapping[int, Any] | None]) -> None:
        """What vLLM tells of the prompt's tokens."""
        if self._owner.wants_prompt:
            self._owner.put_prompt(self._records.of(token_ids, found, self._response.prompt_logprobs))

    def put(self, text: str, token_ids: Sequence[int]) -> None:
        """New output."""
        if self.job.streamed:
            delta = self._delta(text, token_ids, finished=False)
            if any(field.name != "index" for field, _ in delta.ListFields()):  # parsers hold text back
                self._owner.put(delta)
        else:
            self._text += text
            self._new_token_ids += token_ids

    def finished(self, ending: Ending, finish: pb.Finish) -> None:
        """The request has ended by itself."""
        delta = self._last(ending)
        delta.finish.CopyFrom(self._parser.finish(finish) if self._parser else finish)
        self.ended, self.ending = True, ending
        self._owner.put(delta)
        self._owner.one_ended()

    def failed(self, error: ServiceError | Exception, ending: Ending | None) -> None:
        """The engine gave it up."""
        self.ended, self.ending = True, ending
        self._owner.one_failed(error)

    # What its owner asks.

    def tokens(self, requests: Requests) -> int:
        """How many it has so far."""
        return requests.completion_tokens(self.job.id) if self.ending is None else self.ending.usage.completion_tokens

    def abort(self, requests: Requests) -> None:
        """Stop it."""
        if not self.ended:
            self.ending = requests.abort(self.job.id)

    def rest(self) -> pb.SequenceDelta | None:
        """What an aborted sequence had not delivered."""
        if self.ended or self.ending is None:
            return None
        try:
            return self._last(self.ending)
        except Exception as error:  # whatever a parser thinks of half an answer, the abort must come to its end
            log.error("the answer could not be parsed", id=self.job.id, exc_info=error)
            return None

    def reasoning_tokens(self) -> int | None:
        """Of all that it generated."""
        try:
            return self._parser.reasoning_tokens(self._token_ids) if self._parser else None
        except Exception as error:
            log.error("thoughts could not be counted", id=self.job.id, exc_info=error)
            return None

    def _last(self, ending: Ending) -> pb.SequenceDelta:
        if self.job.streamed:
            return self._delta(ending.text, ending.token_ids, finished=True)
        text, token_ids = self._text + ending.text, [*self._new_token_ids, *ending.token_ids]
        delta = self._parser.whole(text, token_ids) if self._parser else pb.SequenceDelta(text=text)
        return self._with_tokens(delta, token_ids)

    def _delta(self, text: str, token_ids: Sequence[int], finished: bool) -> pb.SequenceDelta:
        parser = self._parser
        delta = parser.delta(text, token_ids, finished) if parser else pb.SequenceDelta(text=text)
        return self._with_tokens(delta, token_ids)

    def _with_tokens(self, delta: pb.SequenceDelta, token_ids: Sequence[int]) -> pb.SequenceDelta:
        delta.index = self.index
        if self._parser is not None:
            self._token_ids += token_ids
        if self._response.token_ids:
            delta.token_ids.extend(token_ids)
        delta.tokens.extend(self._tokens)
        self._tokens = []
        return delta


def _seeded(prepared: Prepared, index: int) -> Prepared:
    if not index:
        return prepared
    params = prepared.params.clone()
    params.skip_clone = True
    if params.seed is not None:
        params.seed = seed_for_vllm(params.seed + index)
    return prepared._replace(params=params, prompt={**prepared.prompt})


def _add(total: pb.Usage, usage: pb.Usage) -> None:
    """All sequences have the same prompt."""
    total.prompt_tokens = usage.prompt_tokens
    total.completion_tokens += usage.completion_tokens
    if usage.HasField("cached_prompt_tokens") and not total.HasField("cached_prompt_tokens"):
        total.cached_prompt_tokens = usage.cached_prompt_tokens


def _join(total: pb.Timings, timings: pb.Timings) -> None:
    """The first to begin and the last to end."""
    for name, choose in (("queue_time_ms", min), ("time_to_first_token_ms", min), ("generation_time_ms", max)):
        if timings.HasField(name):
            value = getattr(timings, name)
            setattr(total, name, choose(getattr(total, name), value) if total.HasField(name) else value)
    if timings.HasField("mean_itl_ms") and not total.HasField("mean_itl_ms"):
        total.mean_itl_ms = timings.mean_itl_ms
