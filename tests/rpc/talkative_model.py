"""The built-in model with a chat template that shows what it was never trained on: variables, results by their caller's
name, and thoughts that the template begins.

What it says is beside the point: what reaches it, and how its answer is taken apart, is the service's doing.
"""

import json
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

END_OF_THOUGHT = 2045  # service/penstock_service/builtin/tokenizer.json
ARGUMENTS = ["--tool-parser", "hermes", "--template-arguments", "persona, mood"]
VLLM_ARGUMENTS = ["--reasoning-parser", "deepseek_v3", "--max-model-len", "1024", "--enforce-eager"]

TEMPLATE = """{{- bos_token -}}
{%- for tool in tools or [] -%}{{- '<|system|>' + tool | tojson + '<|end|>' -}}{%- endfor -%}
{%- if persona is defined -%}{{- '<|system|>You are ' ~ persona ~ '<|end|>' -}}{%- endif -%}
{%- for message in messages -%}
{{- '<|user|>' if message.role in ('user', 'tool') else '<|' + message.role + '|>' -}}
{%- if message.role == 'tool' -%}{{- message.name + ' (' + message.tool_call_id + ') says: ' -}}{%- endif -%}
{%- if message.reasoning -%}{{- message.reasoning + ' ... ' -}}{%- endif -%}
{{- message.content or '' -}}
{%- for call in message.tool_calls or [] -%}{{- call.id + ': ' + call.function | tojson -}}{%- endfor -%}
{{- '' if continue_final_message and loop.last else '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
{%- if enable_thinking -%}{{- '<think>' -}}{%- endif -%}
"""


def made_in(directory: Path) -> Path:
    """The model's directory."""
    builtin = Path(str(files("penstock_service").joinpath("builtin")))
    model = directory / "talkative"
    shutil.copytree(builtin, model)
    _edit(model / "tokenizer_config.json", lambda config: config | {"chat_template": TEMPLATE})
    return model


def _edit(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
