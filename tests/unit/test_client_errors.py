"""A gRPC status and its trailing metadata become one error of the tree."""

import pickle
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as rpc
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

import penstock
from penstock import errors
from penstock.reply import Reply
from penstock.statuses import from_rpc_status, from_status
from penstock.v1 import generation_pb2 as pb
from penstock.v1 import mirrors_pb2

Code = grpc.StatusCode


def trailers(*details: Message) -> list[tuple[str, str | bytes]]:
    status = status_pb2.Status(code=3, message="differs from grpc-message")
    for detail in details:
        status.details.add().Pack(detail)
    return [("x-other", "kept"), ("grpc-status-details-bin", status.SerializeToString())]


def reason(name: str) -> rpc.ErrorInfo:
    return rpc.ErrorInfo(reason=name, domain="penstock")


def retry(seconds: float) -> rpc.RetryInfo:
    return rpc.RetryInfo(retry_delay=Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9)))


@pytest.mark.parametrize(
    ("status", "details", "kind", "http_status"),
    [
        (Code.INVALID_ARGUMENT, [reason("INVALID_FIELD")], errors.BadRequestError, 400),
        (Code.INVALID_ARGUMENT, [], errors.BadRequestError, 400),
        (Code.OUT_OF_RANGE, [], errors.BadRequestError, 400),
        (Code.FAILED_PRECONDITION, [reason("FEATURE_OFF")], errors.BadRequestError, 400),
        (Code.UNAUTHENTICATED, [], errors.AuthenticationError, 401),
        (Code.PERMISSION_DENIED, [], errors.PermissionDeniedError, 403),
        (Code.NOT_FOUND, [reason("MODEL_NOT_FOUND")], errors.NotFoundError, 404),
        (Code.ALREADY_EXISTS, [], errors.ConflictError, 409),
        (Code.ABORTED, [], errors.ConflictError, 409),
        (Code.RESOURCE_EXHAUSTED, [reason("OVERLOADED"), retry(2)], errors.RateLimitError, 429),
        (Code.RESOURCE_EXHAUSTED, [reason("TOO_LARGE")], errors.RequestTooLargeError, 413),
        (Code.UNAVAILABLE, [reason("LOADING"), retry(1)], errors.ServiceUnavailableError, 503),
        (Code.UNAVAILABLE, [], errors.APIConnectionError, 503),
        (Code.DEADLINE_EXCEEDED, [], errors.APITimeoutError, 504),
        (Code.INTERNAL, [reason("INTERNAL")], errors.InternalServerError, 500),
        (Code.UNKNOWN, [], errors.InternalServerError, 500),
        (Code.DATA_LOSS, [], errors.InternalServerError, 500),
        (Code.UNIMPLEMENTED, [], errors.NotSupportedError, 501),
        (Code.CANCELLED, [], errors.RequestCancelled, 499),
    ],
)
def test_status_and_reason_decide_the_class(
    status: grpc.StatusCode, details: list[Message], kind: type[errors.APIError], http_status: int
) -> None:
    error = from_status(status, "a sentence", trailers(*details), "job")

    assert type(error) is kind
    assert str(error) == error.message == "a sentence"
    assert (error.status, error.http_status, error.request_id) == (status, http_status, "job")
    assert error.reason == (details[0].reason if details else None)  # type: ignore[attr-defined]
    assert error.metadata == (("x-other", "kept"),)


@pytest.mark.parametrize(
    "text",
    [
        "CLIENT: Sent message larger than max (5 vs. 4)",
        "SERVER: Received message larger than max (5242890 vs. 4194304)",
        "received metadata size exceeds hard limit (value length 1)",
    ],
)
def test_grpcs_own_refusal_of_size_is_told_from_a_full_server(text: str) -> None:
    assert type(from_status(Code.RESOURCE_EXHAUSTED, text)) is errors.RequestTooLargeError
    assert type(from_status(Code.RESOURCE_EXHAUSTED, "busy")) is errors.RateLimitError


def test_every_status_but_ok_has_a_class() -> None:
    for status in set(Code) - {Code.OK}:
        assert isinstance(from_status(status, ""), errors.APIError)


@pytest.mark.parametrize("status", [status for status in Code if status is not Code.OK])
@pytest.mark.parametrize("details", [[], [reason("SOME"), retry(2)], [reason("TOO_LARGE")]])
def test_a_status_inside_a_message_is_the_same_error(status: Code, details: list[Message]) -> None:
    own = from_status(status, "a sentence", trailers(*details)[1:] if details else [], "job")
    inside = status_pb2.Status(code=status.value[0], message="a sentence")
    for detail in details:
        inside.details.add().Pack(detail)

    error = from_rpc_status(mirrors_pb2.RpcStatus.FromString(inside.SerializeToString()), "job")

    assert type(error) is type(own)
    assert vars(error) == vars(own)
    assert (str(error), error.reason, error.retry_after) == (str(own), own.reason, own.retry_after)


def test_a_number_that_is_no_status_is_an_unknown_error() -> None:
    assert from_rpc_status(mirrors_pb2.RpcStatus(code=99)).status is Code.UNKNOWN


def test_every_wrong_field_is_told() -> None:
    bad = rpc.BadRequest(
        field_violations=[
            rpc.BadRequest.FieldViolation(field="sampling.top_p", description="is 2; at most 1"),
            rpc.BadRequest.FieldViolation(field="stopping.max_tokens", description="is 0; at least 1"),
        ]
    )

    error = from_status(Code.INVALID_ARGUMENT, "", trailers(reason("CONTEXT_LENGTH"), bad))

    assert isinstance(error, errors.BadRequestError)
    assert error.violations == (("sampling.top_p", "is 2; at most 1"), ("stopping.max_tokens", "is 0; at least 1"))
    assert error.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("name", "code"), [("MODEL_NOT_FOUND", "model_not_found"), ("LOADING", "loading"), (None, None)]
)
def test_code_is_openais_name_or_the_reason(name: str | None, code: str | None) -> None:
    details = [reason(name)] if name else []

    assert from_status(Code.NOT_FOUND, "", trailers(*details)).code == code


def test_retry_after_is_in_seconds() -> None:
    assert from_status(Code.UNAVAILABLE, "", trailers(retry(1.5))).retry_after == 1.5
    assert from_status(Code.UNAVAILABLE, "", [("grpc-retry-pushback-ms", "250")]).retry_after == 0.25
    assert from_status(Code.UNAVAILABLE, "", [("grpc-retry-pushback-ms", "-1")]).retry_after is None
    assert from_status(Code.UNAVAILABLE, "").retry_after is None


def test_known_details_are_mirrors_and_unknown_ones_stay_raw() -> None:
    help_ = rpc.Help(links=[rpc.Help.Link(url="https://example.org")])

    error = from_status(Code.INTERNAL, "", trailers(reason("INTERNAL"), help_))

    info, raw = error.details
    assert isinstance(info, mirrors_pb2.ErrorInfo)
    assert isinstance(raw, AnyMessage)
    assert raw.Is(rpc.Help.DESCRIPTOR)


@given(st.binary() | st.text())
def test_malformed_details_never_raise(garbage: bytes | str) -> None:
    error = from_status(Code.UNAVAILABLE, "broken", [("grpc-status-details-bin", garbage)])

    assert str(error) == "broken"


@given(st.sampled_from(["ErrorInfo", "RetryInfo", "BadRequest", "Help", ""]), st.binary())
def test_a_malformed_detail_stays_raw_and_never_raises(kind: str, garbage: bytes) -> None:
    status = status_pb2.Status(details=[AnyMessage(type_url=f"type.googleapis.com/google.rpc.{kind}", value=garbage)])

    error = from_status(Code.INTERNAL, "broken", [("grpc-status-details-bin", status.SerializeToString())])

    assert len(error.details) == 1
    assert error.retry_after is None or error.retry_after >= 0
    assert error.code is None or error.code


def test_an_interrupted_stream_tells_what_its_cause_tells() -> None:
    cause = from_status(Code.UNAVAILABLE, "draining", trailers(reason("DRAINING"), retry(3)), "job")
    partial = Reply(pb.GenerateResponse(sequences=[pb.Sequence(text="so far")]))

    error = errors.StreamInterrupted(partial, cause)

    assert isinstance(error, errors.APIConnectionError)
    assert (error.partial, error.cause) == (partial, cause)
    assert (error.status, error.reason, error.retry_after) == (Code.UNAVAILABLE, "DRAINING", 3)
    assert (error.http_status, error.request_id) == (503, "job")
    assert str(error) == "the stream broke off after 6 characters: draining"


def test_errors_pass_between_processes() -> None:
    cause = from_status(Code.UNAVAILABLE, "draining", trailers(reason("DRAINING"), retry(3)), "job")
    error = errors.StreamInterrupted(Reply(pb.GenerateResponse(id="gen")), cause)

    passed = pickle.loads(pickle.dumps(error))  # noqa: S301  # of our own making

    assert (passed.partial.id, passed.cause.reason, passed.retry_after) == ("gen", "DRAINING", 3)
    assert str(passed) == str(error)


def test_the_tree_is_the_one_drawn_in_the_module() -> None:
    drawn = errors.__doc__ or ""
    kinds: list[Any] = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
    ]

    assert all(issubclass(kind, errors.OpenAIError) for kind in kinds)
    assert all(f" {kind.__name__} " in drawn.replace("\n", " ") for kind in kinds)
    assert all(kind.__name__ in penstock.__all__ for kind in kinds)
