"""Makes a model that sees: a tiny Idefics3 with random weights and the built-in model's tokenizer."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

_BUILTIN = files("penstock_service") / "builtin"
IMAGE = "<image>"
IMAGE_TOKEN = json.loads((_BUILTIN / "config.json").read_text())["vocab_size"]  # the first behind its tokenizer's
_AROUND = ("<fake_token_around_image>", "<end_of_utterance>", "<global-img>")
_VOCABULARY = IMAGE_TOKEN + 64
_SIDE, _PATCH, _SHRINK = 32, 8, 2  # pixels, pixels, how many patches in a row become one token
PLACES_PER_IMAGE = (_SIDE // _PATCH // _SHRINK) ** 2
TOKENS_PER_IMAGE = PLACES_PER_IMAGE + 3  # with those around

# Pictures stand where their parts stand.
_TEMPLATE = """
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|' + message.role + '|>' -}}
    {%- for part in message.content -%}
        {{- '<image>' if part.type == 'image' else part.text -}}
    {%- endfor -%}
    {{- '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>' -}}
{%- endif -%}
"""


def write_vision_model(directory: Path) -> None:
    """Save the model, its tokenizer and its image processor."""
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


def _write_processor(directory: Path) -> None:
    from transformers import AutoTokenizer, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer = AutoTokenizer.from_pretrained(str(_BUILTIN))
    tokenizer.add_tokens([IMAGE, *_AROUND], special_tokens=True)
    assert tokenizer.convert_tokens_to_ids(IMAGE) == IMAGE_TOKEN
    tokenizer.chat_template = _TEMPLATE
    side = {"longest_edge": _SIDE}
    pictures = Idefics3ImageProcessorPil(do_image_splitting=False, size=side, max_image_size=side)
    processor = Idefics3Processor(pictures, tokenizer, image_seq_len=PLACES_PER_IMAGE, chat_template=_TEMPLATE)
    processor.save_pretrained(directory)


def _model() -> Any:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    sees = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": _SIDE,
        "patch_size": _PATCH,
    }
    writes = {
        "model_type": "llama",
        "vocab_size": _VOCABULARY,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "max_position_embeddings": 1024,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    config = Idefics3Config(
        vision_config=sees,
        text_config=writes,
        image_token_id=IMAGE_TOKEN,
        scale_factor=_SHRINK,
        pad_token_id=1,
        tie_word_embeddings=False,
    )
    return Idefics3ForConditionalGeneration(config)
