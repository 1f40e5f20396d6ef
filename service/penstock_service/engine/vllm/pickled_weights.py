"""Keeps vLLM from weights that are pickles, which it would read where a model has no others."""

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.transformers_utils.repo_utils import list_filtered_repo_files

from penstock_service.engine.vllm.dangerous_settings import PICKLED_WEIGHTS, Danger, draft_is_loaded_like_the_model

# With these vLLM looks for safetensors first, and then for pickles (model_loader/default_loader.py).
_FALLING_BACK = ("auto", "hf")
_PICKLES = ["*.bin", "*.pt"]
_DRAFT = Danger(PICKLED_WEIGHTS, "a draft without a draft_load_config is read from pickles where it has no others")


def forbid(arguments: AsyncEngineArgs) -> list[Danger]:
    """Let vLLM read safetensors alone, and return what is dangerous if the model has none but pickles.

    Looks at the files of the model, those of a hub over the network.
    """
    load_format = arguments.load_format.lower()  # as config/load.py does
    if load_format not in _FALLING_BACK or "://" in arguments.model:  # which vLLM streams, safetensors alone
        return []
    if load_format == "auto" and _files(arguments, ["consolidated*.safetensors"]):
        # Mistral's own format, which vLLM prefers. It is named, for "auto" would mean pickles again for a model that a
        # speculators_config in this one's config.json puts in its place (EngineArgs.create_engine_config).
        arguments.load_format = "mistral"
        return [_DRAFT] if draft_is_loaded_like_the_model(arguments) else []
    if not _files(arguments, ["*.safetensors"]) and (pickles := _files(arguments, _PICKLES)):
        return [Danger(PICKLED_WEIGHTS, f"the model has its weights in pickles ({pickles[0]}), which can hold code")]
    arguments.load_format = "safetensors"
    return []


def _files(arguments: AsyncEngineArgs, patterns: list[str]) -> list[str]:
    files: list[str] = list_filtered_repo_files(arguments.model, patterns, arguments.revision)
    return files
