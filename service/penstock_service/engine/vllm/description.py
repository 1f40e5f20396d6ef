"""What the contract's Model says of a model that vLLM serves."""

import vllm
from vllm.v1.engine.async_llm import AsyncLLM

from penstock.v1.models_pb2 import MODALITY_AUDIO, MODALITY_IMAGE, MODALITY_TEXT, Modality, Model
from penstock_service.engine.vllm.constraints import Constraints
from penstock_service.limit_table import ModelLimits, told
from penstock_service.settings import Settings

# A character of a tokenizer's vocabulary stands for at most this many bytes of UTF-8.
_MOST_BYTES_PER_CHARACTER = 4
STRUCTURED_OUTPUTS = ("json_schema", "json_object", "regex", "choice", "grammar", "structural_tag")


def described(llm: AsyncLLM, settings: Settings, reasoning_parser: str) -> Model:
    """The model of `llm` as the settings serve it."""
    tokenizer, config = llm.renderer.get_tokenizer(), llm.model_config
    context_length = config.max_model_len
    embeds = config.runner_type == "pooling"
    chat = getattr(tokenizer, "chat_template", "the tokenizer's own") is not None and not embeds
    model = Model(
        name=settings.model_name,
        context_length=context_length,
        vocabulary_size=config.get_vocab_size(),
        max_concurrent_sequences=llm.vllm_config.scheduler_config.max_num_seqs,
        chat=chat,
        engine="vllm",
        engine_version=vllm.__version__,
        max_prompt_bytes=context_length * tokenizer.max_chars_per_token * _MOST_BYTES_PER_CHARACTER,
        max_logprobs=config.max_logprobs if config.max_logprobs >= 0 else config.get_vocab_size(),
        tool_parser=settings.tool_parser_name,
        reasoning_parser=reasoning_parser,
        # What other libraries compile is not bounded, and so not served.
        structured_outputs=STRUCTURED_OUTPUTS if Constraints.fits(llm.vllm_config) and not embeds else (),
        modalities=_modalities(llm) if chat else [MODALITY_TEXT],  # only conversations have parts that are not text
        embeddings=embeds,
    )
    model.load_time.GetCurrentTime()
    model.limits.extend(told(ModelLimits.of(model)))
    return model


def _modalities(llm: AsyncLLM) -> list[Modality]:
    """What vLLM's processor of the model takes, as far as its operator's --limit-mm-per-prompt allows."""
    processor = llm.renderer.mm_processor
    limits = processor.info.allowed_mm_limits if processor is not None else {}
    kinds = (("image", MODALITY_IMAGE), ("audio", MODALITY_AUDIO))
    return [MODALITY_TEXT, *(modality for kind, modality in kinds if limits.get(kind))]
