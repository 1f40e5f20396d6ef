"""The texts by which prompts say where pictures and sounds belong."""

from typing import Any

from vllm.config import ModelConfig
from vllm.model_executor.model_loader import get_model_cls

from penstock_service.media_limits import MOST_MEDIA

# What vLLM puts into texts itself until it knows the model's own, with --interleave-mm-strings.
_VLLMS = ("<##IMAGE##>", "<##AUDIO##>", "<##VIDEO##>")


def placeholders(model: ModelConfig) -> set[str]:
    """Those of `model`, none for one that reads text alone. Callers' texts must not have them as such."""
    if not model.is_multimodal_model:
        return set()
    return {*_VLLMS, *(text for kind in ("image", "audio", "video") for text in _own(model, kind))}


def _own(model: ModelConfig, kind: str) -> set[str]:
    model_class: Any = get_model_cls(model)
    try:
        texts = {model_class.get_placeholder_str(kind, number + 1) for number in range(MOST_MEDIA)}
    except (ValueError, NotImplementedError):  # the model does not read this kind
        return set()
    return {text for text in texts if text}
