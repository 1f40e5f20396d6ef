"""Unary calls that outlast their attempts, for threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from penstock.calls import Calls
from penstock.client_parts import ClientParts
from penstock.endpoints.lease import Lease
from penstock.endpoints.pool import EndpointPool
from penstock.errors import APIError, NotFoundError
from penstock.resilience.connecting import connect
from penstock.resilience.stream_course import endpoint_failed
from penstock.resilience.unary_course import UnaryCourse
from penstock.statuses import from_rpc_error
from penstock.terms import Terms

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
Rpc = Callable[[Calls], "grpc.UnaryUnaryMultiCallable[RequestT, ResponseT]"]


class UnaryCalls:
    """Those of one client."""

    def __init__(self, parts: ClientParts[EndpointPool]) -> None:
        self._parts = parts

    def call(
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
            answer = self._attempts(rpc, request, course)
        except BaseException as error:
            course.failed(error)
            raise
        course.answered(answer)
        return answer

    def _attempts(
        self,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        course: UnaryCourse,
    ) -> ResponseT:
        pool = self._parts.pool
        pool.resolved(course.left())
        while True:
            lease = pool.acquire(course.attempts.failed_endpoints)
            course.begins_at(lease.endpoint)
            try:
                answer = self._once(rpc, lease, request, course)
            except APIError as error:
                lease.release(endpoint_failed(error))
                delay = course.next_delay(error, time.monotonic(), self._parts.endpoints())
                if delay is None:
                    raise
            except BaseException:
                lease.release(None)
                raise
            else:
                lease.release(False)
                return answer
            time.sleep(delay)

    def _once(
        self,
        rpc: Rpc[RequestT, ResponseT],
        lease: Lease[Calls],
        request: RequestT,
        course: UnaryCourse,
    ) -> ResponseT:
        try:
            connect(lease.calls, course.terms.timeout.connect, course.left())
            return rpc(lease.calls)(request, timeout=course.left(), metadata=course.metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error, course.request_id) from error

    def find(
        self,
        method: str,
        rpc: Rpc[RequestT, ResponseT],
        request: RequestT,
        terms: Terms,
        endpoint: str | None,
    ) -> ResponseT:
        """At the named endpoint, else at each until one has it: replicas do not know each other's generations."""
        self._parts.pool.resolved(terms.left(time.monotonic()))
        known = self._parts.endpoints()
        missing: NotFoundError | None = None
        for place in [endpoint] if endpoint in known else known:
            lease = self._parts.pool.lease_of(place)
            if lease is None:
                continue
            course = UnaryCourse(self._parts, method, request, terms)
            course.begins_at(place)
            try:
                answer = self._once(rpc, lease, request, course)
            except NotFoundError as error:
                missing = error
            except BaseException as error:
                course.failed(error)
                raise
            else:
                course.answered(answer)
                return answer
            finally:
                lease.release(None)
            course.failed(missing)
        raise missing or NotFoundError("no endpoint has this generation")
