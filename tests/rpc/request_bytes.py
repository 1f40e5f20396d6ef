"""What becomes of the bytes of a request before an engine sees them."""

from collections.abc import Iterable
from importlib.util import find_spec

from google.protobuf.message import DecodeError

from penstock.v1 import generation_pb2 as pb
from penstock.v1.models_pb2 import MODALITY_TEXT, Model
from penstock_service.errors import ServiceError
from penstock_service.features import check_features
from penstock_service.limits import ModelLimits, check
from tests.rpc.bad_requests import BAD_REQUESTS, bad_request
from tests.rpc.parity_cases import CASES

if WITH_VLLM := find_spec("vllm") is not None:
    from penstock_service.engine.vllm import translation
    from penstock_service.engine.vllm.conversations import chat_messages, template_arguments
    from penstock_service.engine.vllm.refusals import translated

# Peers accept 8 KiB of metadata; the status is in it in base64, beside its message.
MOST_STATUS_BYTES = 8192 * 3 // 4
_STRUCTURED = ("json_schema", "json_object", "regex", "choice", "grammar", "structural_tag")
_MODEL = Model(
    name="builtin",
    context_length=1024,
    vocabulary_size=2048,
    max_prompt_bytes=1 << 16,
    max_logprobs=20,
    chat=True,
    engine="vllm",
    tool_parser="hermes",
    structured_outputs=_STRUCTURED,
    modalities=[MODALITY_TEXT],
)
_LIMITS = ModelLimits.of(_MODEL)


def take(data: bytes) -> str:
    """Judge and translate a request; what came of it. Raises whatever a defect makes it raise."""
    request = message_in(data)
    if request is None:
        return "unreadable"
    try:
        check(request, _LIMITS)
        check_features(request, _MODEL)
        if WITH_VLLM:
            _translate(request)
    except ServiceError as error:
        size = error.status().ByteSize()
        assert size < MOST_STATUS_BYTES, f"a status of {size} bytes"
        return error.reason
    return "taken"


def message_in(data: bytes) -> pb.GenerateRequest | None:
    """The request that the bytes are, if they are one."""
    try:
        return pb.GenerateRequest.FromString(data)
    except DecodeError:
        return None


def seeds() -> Iterable[bytes]:
    """Requests to begin with: of every kind, right and wrong."""
    yield from (case.request.SerializeToString() for case in CASES.values())
    small = (bad_request(name)[0].SerializeToString() for name in BAD_REQUESTS)
    yield from (data for data in small if len(data) < 2048)


def _translate(request: pb.GenerateRequest) -> None:
    with translated("sampling"):
        params = translation.sampling_params(request, {"temperature": 0.3}, True, 100)
    translation.settings(request, params)
    if request.WhichOneof("input") == "conversation":
        chat_messages(request.conversation)
        template_arguments(request)
