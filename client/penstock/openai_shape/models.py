"""From the contract's models to OpenAI's. Pure."""

from __future__ import annotations

from penstock.openai_shape.model_types import Adapter, Model, ModelList
from penstock.v1 import models_pb2


def loaded_model(proto: models_pb2.Model) -> Model:
    """A loaded model."""
    return Model(
        id=proto.name,
        created=proto.load_time.seconds,
        aliases=list(proto.aliases),
        context_length=proto.context_length,
        vocabulary_size=proto.vocabulary_size,
        max_concurrent_sequences=proto.max_concurrent_sequences,
        max_prompt_bytes=proto.max_prompt_bytes,
        max_logprobs=proto.max_logprobs,
        chat=proto.chat,
        embeddings=proto.embeddings,
        engine=proto.engine,
        engine_version=proto.engine_version,
        digest=proto.digest,
        tool_parser=proto.tool_parser,
        reasoning_parser=proto.reasoning_parser,
        structured_outputs=list(proto.structured_outputs),
        modalities=[_modality(each) for each in proto.modalities],
        adapters_enabled=proto.adapters_enabled,
        adapters=[adapter(each) for each in proto.adapters],
        adapter_aliases={alias.name: alias.target for alias in proto.adapter_aliases},
        limits=list(proto.limits),
    )


def model_list(proto: models_pb2.ListModelsResponse) -> ModelList:
    """The loaded models."""
    return ModelList([loaded_model(each) for each in proto.models])


def adapter(proto: models_pb2.Adapter) -> Adapter:
    """A loaded adapter."""
    return Adapter(
        id=f"{proto.name}@{proto.version}",
        created=proto.load_time.seconds,
        name=proto.name,
        version=proto.version,
        digest=proto.digest,
        rank=proto.rank,
        running_calls=proto.running_calls,
    )


def _modality(modality: int) -> str:
    """ "text", "image" or "audio"; "unknown" for one newer than this client."""
    known = models_pb2.Modality
    return known.Name(modality).removeprefix("MODALITY_").lower() if modality in known.values() else "unknown"
