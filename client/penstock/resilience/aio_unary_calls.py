"""Unary calls that outlast their attempts, for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from penstock.calls import AsyncCalls
from penstock.cancellation import client_closed, ended_if_closed
from penstock.client_parts import ClientParts
from penstock.endpoints.asyncio_pool import AsyncEndpointPool
from penstock.endpoints.lease import Lease
from penstock.errors import APIError, NotFoundError
from penstock.resilience.cancels import AsyncCancels
from penstock.resilience.connecting import connect_async
from penstock.resilience.finding import another_may_have_it
from penstock.resilience.stream_course import endpoint_failed
from penstock.resilience.unary_course import UnaryCourse
from penstock.statuses import from_rpc_error
from penstock.terms import Terms

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
Rpc = Callable[[AsyncCalls], "grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]"]


class AsyncUnaryCalls:
    """Those of one client."""

    def __init__(self, parts: ClientParts[AsyncEndpointPool], cancels: AsyncCancels) -> None:
        self._parts = parts
        self._cancels = cancels

    async def call(
        self,
        method: str,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        terms: Terms,
        *,
        once: bool = False,
    ) -> ResponseT:
        """The answer of the first attempt that has one. `once`: see UnaryCourse."""
        course = UnaryCourse(self._parts, method, request, terms, once=once)
        try:
            answer = await self._attempts(rpc, request, course)
        except BaseException as error:
            course.failed(error)
            raise
        course.answered(answer)
        return answer

    async def _attempts(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        course: UnaryCourse,
    ) -> ResponseT:
        pool = self._parts.pool
        await pool.resolved(course.left())
        while True:
            try:
                lease = pool.acquire(course.attempts.failed_endpoints)
            except RuntimeError:
                if not pool.closed:
                    raise
                raise client_closed(course.request_id, course.attempts.made) from None
            course.begins_at(lease.endpoint)
            try:
                answer = await self._once(rpc, lease, request, course)
            except APIError as error:
                lease.release(endpoint_failed(error))
                delay = course.next_delay(error, time.monotonic(), self._parts.endpoints_in_use())
                if delay is None:
                    raise
            except BaseException:
                lease.release(None)
                raise
            else:
                lease.release(False)
                return answer
            await pool.sleep(delay, asyncio.get_running_loop().create_future())

    async def _once(
        self,
        rpc: Rpc[RequestT, ResponseT],
        lease: Lease[AsyncCalls],
        request: RequestT,
        course: UnaryCourse,
    ) -> ResponseT:
        try:
            await connect_async(lease.calls, course.terms.timeout.connect, course.left())
            with ended_if_closed(lease.calls, course.request_id):
                return await rpc(lease.calls)(request, timeout=course.left(), metadata=course.metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error, course.request_id) from error
        except asyncio.CancelledError:
            if course.outlives_its_call:
                self._cancels.send(lease, course.cancel_request(), course.metadata)
            raise

    async def find(
        self,
        method: str,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        terms: Terms,
        endpoint: str | None,
    ) -> ResponseT:
        """At the named endpoint, else at each until one has it: replicas do not know each other's generations.

        If none has it, one that could not be asked decides the error.
        """
        await self._parts.pool.resolved(terms.left(time.monotonic()))
        known = self._parts.endpoints()
        failure: APIError = NotFoundError("no endpoint has this generation")
        for place in [endpoint] if endpoint in known else known:
            lease = self._parts.lease_of(place)
            if lease is None:
                continue
            course = UnaryCourse(self._parts, method, request, terms)
            course.begins_at(place)
            try:
                answer = await self._once(rpc, lease, request, course)
            except APIError as error:
                course.failed(error)
                if not another_may_have_it(error):
                    raise
                failure = error if isinstance(failure, NotFoundError) else failure
            except BaseException as error:
                course.failed(error)
                raise
            else:
                course.answered(answer)
                return answer
            finally:
                lease.release(None)
        raise failure
