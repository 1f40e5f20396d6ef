"""From the JSON body of Ollama's /api/chat to the body of OpenAI's. Pure.

As Ollama has it, unknown fields are ignored, and so are options of how a model is run (num_ctx, num_gpu). An option
that would change the answer and that the contract does not have is refused.
"""

from collections.abc import Mapping
from typing import Any

from penstock.errors import BadRequestError
from penstock_gateway.ollama.messages import openai_messages

# Ollama's option -> OpenAI's parameter, or vLLM's.
_OPTIONS = {
    "frequency_penalty": "frequency_penalty",
    "min_p": "min_p",
    "presence_penalty": "presence_penalty",
    "repeat_penalty": "repetition_penalty",
    "seed": "seed",
    "stop": "stop",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
}
# An option that the contract does not have -> the value that asks for what happens anyway.
_REFUSED = {"mirostat": 0, "tfs_z": 1, "typical_p": 1}
_PASSED_ON = ("model", "tools")


def openai_chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body for /v1/chat/completions. Raises BadRequestError for what it cannot say."""
    given = {name: value for name, value in body.items() if value is not None}
    if given.get("logprobs"):
        raise BadRequestError("logprobs is not supported here; /v1/chat/completions has it", param="logprobs")
    return {
        **{name: given[name] for name in _PASSED_ON if name in given},
        "messages": openai_messages(given.get("messages")),
        "stream": given.get("stream", True),
        **_sampling(given.get("options", {})),
        **_form(given.get("format", "")),
        **_thinking(given.get("think")),
    }


def _sampling(options: object) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise BadRequestError(f"options must be an object, not {type(options).__name__}", param="options")
    for name, neutral in _REFUSED.items():
        if options.get(name, neutral) not in (None, neutral):
            raise BadRequestError(f"options.{name} is not supported with this value", param=f"options.{name}")
    found = {_OPTIONS[name]: value for name, value in options.items() if name in _OPTIONS}
    most = options.get("num_predict")
    # Negative numbers are Ollama's ways to say that the context is the limit.
    return found if isinstance(most, int) and most < 0 else {**found, "max_tokens": most}


def _form(form: object) -> dict[str, Any]:
    if form == "":
        return {}
    if form == "json":
        return {"response_format": {"type": "json_object"}}
    if not isinstance(form, Mapping):
        raise BadRequestError('format must be "json" or a JSON Schema', param="format")
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "format", "schema": form}}}


def _thinking(think: object) -> dict[str, Any]:
    if think is None:
        return {}
    if isinstance(think, str):
        return {"reasoning_effort": think, "chat_template_kwargs": {"enable_thinking": True}}
    if not isinstance(think, bool):
        raise BadRequestError("think must be a boolean or a level", param="think")
    return {"chat_template_kwargs": {"enable_thinking": think}}
