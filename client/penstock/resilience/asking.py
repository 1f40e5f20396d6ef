"""Asks the replica that is to go on with a stream what the plan of its continuation needs to know."""

from __future__ import annotations

from collections.abc import Generator

import grpc
import grpc.aio

from penstock.call_options import Pairs
from penstock.calls import AsyncCalls, Calls
from penstock.cancellation import ended_if_closed, refused_if_closed
from penstock.resilience.continuation import Answer, Continuation, Question
from penstock.statuses import from_rpc_error
from penstock.v1.generation_pb2 import TokenizeRequest

Plan = Generator[Question, Answer, Continuation]


def planned(plan: Plan, calls: Calls, timeout: float, metadata: Pairs) -> Continuation:
    """What the plan comes to; `timeout` is for each question. Raises APIError and CannotContinue."""
    try:
        question = next(plan)
        while True:
            with refused_if_closed(calls):
                answer = _answer(question, calls, timeout, metadata)
            question = plan.send(answer)
    except StopIteration as end:
        continuation: Continuation = end.value
        return continuation
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


def _answer(question: Question, calls: Calls, timeout: float, metadata: Pairs) -> Answer:
    if isinstance(question, TokenizeRequest):
        return calls.tokenize(question, timeout=timeout, metadata=metadata)
    return calls.detokenize(question, timeout=timeout, metadata=metadata)


async def planned_async(plan: Plan, calls: AsyncCalls, timeout: float, metadata: Pairs) -> Continuation:
    """What the plan comes to; `timeout` is for each question. Raises APIError and CannotContinue."""
    try:
        question = next(plan)
        while True:
            with ended_if_closed(calls):
                answer = await _async_answer(question, calls, timeout, metadata)
            question = plan.send(answer)
    except StopIteration as end:
        continuation: Continuation = end.value
        return continuation
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


async def _async_answer(question: Question, calls: AsyncCalls, timeout: float, metadata: Pairs) -> Answer:
    if isinstance(question, TokenizeRequest):
        return await calls.tokenize(question, timeout=timeout, metadata=metadata)
    return await calls.detokenize(question, timeout=timeout, metadata=metadata)
