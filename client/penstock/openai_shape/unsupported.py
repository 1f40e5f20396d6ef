"""The parameters that say nothing to the contract, and those that it must refuse. Pure.

Nothing that would change the answer is dropped in silence: a parameter that the contract does not have is refused by
name unless its value asks for what happens anyway (echo=False, functions=[]).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penstock.errors import BadRequestError

Neutral = Mapping[str, Callable[[object], bool]]

# They are about billing, storage, routing or speed, or only hint at a style.
IGNORED = frozenset(
    {
        "metadata", "moderation", "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "safety_identifier", "service_tier", "store", "user", "verbosity",
    }
)  # fmt: skip


def _only(*neutral: object) -> Callable[[object], bool]:
    return lambda value: any(value == wanted and type(value) is type(wanted) for wanted in neutral)


# The parameters that the contract does not have -> whether a value asks for what happens anyway.
CHAT_REFUSED: Neutral = {
    "audio": _only(),
    "function_call": _only("none", "auto"),
    "functions": _only([]),
    "modalities": _only(["text"]),
    "web_search_options": _only(),
}
COMPLETION_REFUSED: Neutral = {
    "best_of": _only(1),
    "echo": _only(False),
    "suffix": _only(""),
}
_EXTRAS_REFUSED: Neutral = {
    "chat_template": _only(),
    "documents": _only([]),
    "echo": _only(False),
    "logits_processors": _only([]),
    "prompt_embeds": _only(),
    "prompt_logprobs": _only(),
    "use_beam_search": _only(False),
}
CHAT_EXTRAS_REFUSED: Neutral = {**_EXTRAS_REFUSED, "add_special_tokens": _only(False)}
COMPLETION_EXTRAS_REFUSED: Neutral = {
    **_EXTRAS_REFUSED,
    "add_generation_prompt": _only(True),
    "chat_template_kwargs": _only({}),
    "continue_final_message": _only(False),
}


def refuse(given: Mapping[str, Any], *refused: Neutral) -> None:
    """Raise BadRequestError for the first parameter that would change the answer and cannot."""
    for table in refused:
        for name in given.keys() & table.keys():
            if not table[name](given[name]):
                raise BadRequestError(f"{name} is not supported with this value", param=name)
