"""Makes a model that hears: a tiny Qwen2-Audio with random weights and the built-in model's tokenizer."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

_BUILTIN = files("penstock_service") / "builtin"
SOUND = "<|AUDIO|>"
SOUND_TOKEN = json.loads((_BUILTIN / "config.json").read_text())["vocab_size"]  # the first behind its tokenizer's
RATE = 16_000
TOKENS_PER_SECOND = 25
_AROUND = ("<|audio_bos|>", "<|audio_eos|>")
_VOCABULARY = SOUND_TOKEN + 64

# Sounds stand where their parts stand.
_TEMPLATE = """
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|' + message.role + '|>' -}}
    {%- for part in message.content -%}
        {{- '<|audio_bos|><|AUDIO|><|audio_eos|>' if part.type == 'audio' else part.text -}}
    {%- endfor -%}
    {{- '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>' -}}
{%- endif -%}
"""


def write_hearing_model(directory: Path) -> None:
    """Save the model, its tokenizer and its feature extractor."""
    import torch

    _write_processor(directory)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = _model()
        # So that what comes before decides clearly what comes next.
        for weights in model.parameters():
            if weights.dim() > 1:
                torch.nn.init.normal_(weights, std=0.2)
        model.to(torch.bfloat16).save_pretrained(directory)
    _rename_weights(directory / "model.safetensors")


def _rename_weights(path: Path) -> None:
    """transformers 5.19 writes a part of their names twice."""
    from safetensors.torch import load_file, save_file

    weights = {name.replace("model.model.", "model."): weight for name, weight in load_file(path).items()}
    save_file(weights, path, {"format": "pt"})


def _write_processor(directory: Path) -> None:
    from transformers import AutoTokenizer, Qwen2AudioProcessor, WhisperFeatureExtractor

    tokenizer = AutoTokenizer.from_pretrained(str(_BUILTIN))
    tokenizer.add_tokens([SOUND, *_AROUND], special_tokens=True)
    assert tokenizer.convert_tokens_to_ids(SOUND) == SOUND_TOKEN
    tokenizer.chat_template = _TEMPLATE
    extractor = WhisperFeatureExtractor(feature_size=16, sampling_rate=RATE)
    Qwen2AudioProcessor(extractor, tokenizer, chat_template=_TEMPLATE).save_pretrained(directory)


def _model() -> Any:
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    hears = {
        "num_mel_bins": 16,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 128,
        "d_model": 64,
        "max_source_positions": 1500,  # vLLM takes 30 seconds and no other length
    }
    writes = {
        "vocab_size": _VOCABULARY,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
        "tie_word_embeddings": False,
    }
    config = Qwen2AudioConfig(
        audio_config=hears, text_config=writes, audio_token_index=SOUND_TOKEN, tie_word_embeddings=False
    )
    return Qwen2AudioForConditionalGeneration(config)
