"""What the served model lacks of what a request asks for. Pure."""

from collections.abc import Iterator

from penstock.v1 import generation_pb2 as pb
from penstock.v1.models_pb2 import MODALITY_AUDIO, MODALITY_IMAGE, Model
from penstock_service.errors import FeatureOff
from penstock_service.limits import ModelLimits, check
from penstock_service.media_limits import media_parts

_MODALITIES = {"image": MODALITY_IMAGE, "audio": MODALITY_AUDIO}


def check_with_features(request: pb.GenerateRequest, model: Model, unary: bool = False) -> None:
    """Raise InvalidRequest for what is wrong with a request by itself, and FeatureOff for what `model` cannot do."""
    check(request, ModelLimits.of(model), unary)
    check_features(request, model)


def check_features(request: pb.GenerateRequest, model: Model) -> None:
    """Raise FeatureOff with everything that `model` cannot do for a checked request."""
    lacking = list(_lacking(request, model))
    if lacking:
        raise FeatureOff("; ".join(lacking))


def _lacking(request: pb.GenerateRequest, model: Model) -> Iterator[str]:
    name = repr(model.name)
    if model.embeddings:
        yield f"model: {name} embeds texts and generates none; call Embed"
        return
    if request.WhichOneof("input") == "conversation":
        if not model.chat:
            yield f"conversation: model {name} has no chat template; send a prompt instead"
        yield from _lacking_modalities(request.conversation, model)
    tools_wanted = request.tools and request.tool_choice.mode != pb.TOOL_CHOICE_MODE_NONE
    if tools_wanted and not model.tool_parser:
        yield "tools: this server has no tool parser; its operator sets --tool-parser"
    kind = request.structured_output.WhichOneof("constraint")
    if kind is not None and kind not in model.structured_outputs:
        yield f"structured_output.{kind}: is not served here"
    if model.engine == "simulated":
        yield from _lacking_simulated(request)


def _lacking_modalities(conversation: pb.Conversation, model: Model) -> Iterator[str]:
    kinds = {part.kind for part in media_parts(conversation)}
    for kind, modality in _MODALITIES.items():
        if kind in kinds and modality not in model.modalities:
            yield f"conversation: model {model.name!r} takes no {kind}"


def _lacking_simulated(request: pb.GenerateRequest) -> Iterator[str]:
    """What would be silently ignored."""
    if request.num_sequences > 1:
        yield "num_sequences: the simulated engine makes one"
    for name in ("logprobs", "prompt_logprobs"):
        if request.response.HasField(name):
            yield f"response.{name}: the simulated engine has no probabilities"
    for name in ("logit_bias", "bad_words", "allowed_token_ids"):
        if getattr(request.sampling, name):
            yield f"sampling.{name}: the simulated engine chooses no tokens"
