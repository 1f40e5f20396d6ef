"""Answers what tokens a text has, and what text tokens have, as Generate would read and write them."""

import asyncio
from collections.abc import Iterator
from functools import lru_cache

from penstock.v1.generation_pb2 import (
    DetokenizeRequest,
    DetokenizeResponse,
    GenerateRequest,
    TokenizeRequest,
    TokenizeResponse,
    TokenSpan,
)
from penstock.v1.models_pb2 import Model
from penstock_service.adapters import AdapterTable
from penstock_service.call import Call
from penstock_service.door import Door
from penstock_service.engine.base import Engine, Tokenized
from penstock_service.errors import InvalidRequest, Violation
from penstock_service.features import check_features
from penstock_service.lifecycle import Lifecycle
from penstock_service.limit_check import Checker
from penstock_service.limit_table import Limit, Range
from penstock_service.limits import ModelLimits, check
from penstock_service.long_conversations import off_loop_if_long


class Tokenization:
    """Tokenize and Detokenize."""

    def __init__(self, lifecycle: Lifecycle, adapters: AdapterTable, door: Door) -> None:
        self._lifecycle = lifecycle
        self._adapters = adapters
        self._door = door

    async def tokenize(self, request: TokenizeRequest, call: Call) -> TokenizeResponse:
        """See the contract."""
        with self._lifecycle.call() as engine, self._door.reading(call):
            model = self._model(request.model, engine, call)
            generate = _generate_request(request)
            await off_loop_if_long(generate, lambda: check_tokenize(generate, model))
            tokenized = await engine.tokenize(generate)
            # Off the event loop: a message for each of a million tokens takes a second.
            return await asyncio.to_thread(_response, tokenized, model)

    async def detokenize(self, request: DetokenizeRequest, call: Call) -> DetokenizeResponse:
        """See the contract."""
        with self._lifecycle.call() as engine, self._door.reading(call):
            model = self._model(request.model, engine, call)
            check_detokenize(request, ModelLimits.of(model))
            text = await engine.detokenize(request.token_ids.ids, request.skip_special_tokens)
        return DetokenizeResponse(text=text, model=model.name)

    def _model(self, name: str, engine: Engine, call: Call) -> Model:
        model = engine.model
        self._adapters.resolve(name, model)  # an adapter has its model's tokens
        call.model, call.engine = model.name, model.engine
        return model


def check_tokenize(request: GenerateRequest, model: Model) -> None:
    """Raise InvalidRequest with every field that is wrong. A text may be empty, and longer than the context."""
    try:
        check(request, ModelLimits.of(model))
    except InvalidRequest as error:
        if violations := list(_wrong_to_tokenize(request, error)):
            raise InvalidRequest(violations) from None
    _check_features(request, model)


def check_detokenize(request: DetokenizeRequest, limits: ModelLimits) -> None:
    """Raise InvalidRequest with every field that is wrong."""
    if not request.HasField("token_ids"):
        raise InvalidRequest([Violation("token_ids", "is missing; it may be empty")])
    if violations := list(_detokenize_checker(limits.vocabulary_size).violations(request)):
        raise InvalidRequest(violations)


@lru_cache
def _detokenize_checker(vocabulary_size: int) -> Checker:
    return Checker(DetokenizeRequest.DESCRIPTOR, {"token_ids.ids": Limit(value=Range(0, vocabulary_size - 1))})


def _wrong_to_tokenize(request: GenerateRequest, error: InvalidRequest) -> Iterator[Violation]:
    empty_text = request.WhichOneof("input") == "prompt" and not request.prompt
    for violation in error.violations:
        if violation.field == "input":
            yield Violation("input", "is missing: set prompt or conversation")
        elif not (violation.field == "prompt" and empty_text):
            yield violation


def _check_features(request: GenerateRequest, model: Model) -> None:
    as_if_generating = Model()  # one that embeds has tokens as well
    as_if_generating.CopyFrom(model)
    as_if_generating.embeddings = False
    check_features(request, as_if_generating)


def _response(tokenized: Tokenized, model: Model) -> TokenizeResponse:
    spans = [TokenSpan(start=start, end=end) for start, end in tokenized.spans]
    return TokenizeResponse(token_ids=tokenized.token_ids, spans=spans, text=tokenized.text, model=model.name)


def _generate_request(request: TokenizeRequest) -> GenerateRequest:
    generate = GenerateRequest(tools=request.tools)
    match request.WhichOneof("input"):
        case "prompt":
            generate.prompt = request.prompt
        case "conversation":
            generate.conversation.CopyFrom(request.conversation)
    if request.HasField("prompt_options"):
        generate.prompt_options.CopyFrom(request.prompt_options)
    return generate
