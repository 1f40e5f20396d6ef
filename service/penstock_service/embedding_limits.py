"""Checks a request to embed. Pure.

`check_embedding` judges what concerns all of its inputs, `check_input` one of them, and `check_input_length` its
tokens.
"""

from functools import lru_cache

from penstock.v1.generation_pb2 import EmbedInput, EmbedRequest
from penstock_service.errors import InvalidRequest, Violation
from penstock_service.limit_check import Checker
from penstock_service.limit_table import Limit, ModelLimits, Range, limits_of
from penstock_service.limits import text_bytes, too_many_bytes
from penstock_service.request_rules import CALLERS_NAME

_AS_IN_GENERATE = ("model", "request_id", "prompt_options.truncate_tokens")


def check_embedding(request: EmbedRequest, limits: ModelLimits) -> None:
    """Raise InvalidRequest with every field that is wrong for all inputs."""
    violations = list(_request_checker(limits).violations(request))
    if not CALLERS_NAME.fullmatch(request.request_id):
        violations.append(Violation("request_id", "must have only A-Z a-z 0-9 . _ : / = + -"))
    if violations:
        raise InvalidRequest(violations)


def check_input(given: EmbedInput, limits: ModelLimits) -> None:
    """Raise InvalidRequest with everything that is wrong with one input by itself. Fields are named within it."""
    violations = list(_input_checker(limits).violations(given))
    if given.WhichOneof("input") is None:
        violations.append(Violation("input", "is missing: set text or token_ids"))
    if violations:
        raise InvalidRequest(violations)
    most = limits.max_prompt_bytes
    if (size := text_bytes(given.text, enough=most)) > most:
        raise InvalidRequest([Violation("text", too_many_bytes(size, most))], reason="CONTEXT_LENGTH")


def check_input_length(tokens: int, field: str, limits: ModelLimits) -> None:
    """Raise InvalidRequest when an input does not fit the context. A vector needs no room in it."""
    if tokens > limits.context_length:
        text = f"has {tokens} tokens; the context has room for {limits.context_length}"
        raise InvalidRequest([Violation(field, text)], reason="CONTEXT_LENGTH")


@lru_cache
def _request_checker(limits: ModelLimits) -> Checker:
    table = {name: limits_of(limits)[name] for name in _AS_IN_GENERATE}
    table |= {"inputs": Limit(entries=Range(1, 64)), "dimensions": Limit(value=Range(1))}
    return Checker(EmbedRequest.DESCRIPTOR, table)


@lru_cache
def _input_checker(limits: ModelLimits) -> Checker:
    table = {"text": Limit(size=Range(1)), "token_ids.ids": limits_of(limits)["token_ids.ids"]}
    return Checker(EmbedInput.DESCRIPTOR, table)
