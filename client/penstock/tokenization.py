"""From keyword arguments to the requests of Tokenize and Detokenize. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from penstock import arguments
from penstock.requests import generate_request
from penstock.v1.generation_pb2 import DetokenizeRequest, TokenIds, TokenizeRequest

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from penstock.generate_options import TokenizeOptions


def tokenize_request(prompt: str | None, **options: Unpack[TokenizeOptions]) -> TokenizeRequest:
    """The request for `prompt`, or for the `messages` of `options`. Raises what `generate_request` raises."""
    for name in options.keys() - _KEYWORDS:
        raise TypeError(f"unexpected keyword argument {name!r}")
    asked = generate_request(prompt, **options)
    request = TokenizeRequest(model=asked.model, tools=asked.tools)
    if asked.HasField("conversation"):
        request.conversation.CopyFrom(asked.conversation)
    else:
        request.prompt = asked.prompt
    if asked.HasField("prompt_options"):
        request.prompt_options.CopyFrom(asked.prompt_options)
    return request


def detokenize_request(
    token_ids: Iterable[int], model: str | None = None, skip_special_tokens: bool | None = None
) -> DetokenizeRequest:
    """The request for `token_ids`. ArgumentTypeError, ArgumentValueError."""
    request = DetokenizeRequest(token_ids=TokenIds(ids=arguments.integers("token_ids", token_ids)))
    if model is not None:
        request.model = arguments.text("model", model)
    if skip_special_tokens is not None:
        request.skip_special_tokens = arguments.flag("skip_special_tokens", skip_special_tokens)
    return request


_KEYWORDS = {
    "messages", "tools", "model", "truncate_prompt_tokens", "truncation_side", "add_special_tokens",
    "parse_special_tokens", "add_generation_prompt", "continue_final_message", "template_arguments",
}  # fmt: skip
