"""Texts that say where media belong are only text in what callers write."""

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

if not find_spec("vllm"):
    pytest.skip("vLLM is not installed here: `make test` installs it", allow_module_level=True)

from penstock_service.engine.vllm import placeholders as module
from penstock_service.engine.vllm.placeholders import placeholders
from penstock_service.engine.vllm.special_tokens import SpecialTokens


class Model:
    """Numbers its pictures and hears nothing."""

    @classmethod
    def get_placeholder_str(cls, modality: str, number: int) -> str | None:
        if modality == "image":
            return f"<|image_{number}|>"
        raise ValueError("Only image modality is supported")


class Characters:
    """A tokenizer of characters that knows `<s>`."""

    all_special_tokens = ("<s>",)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(character) for character in text]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setattr(module, "get_model_cls", lambda _: Model)
    config: Any = SimpleNamespace(is_multimodal_model=True)
    return placeholders(config)


def test_a_models_own_placeholders_are_known_for_as_many_as_there_may_be(known: set[str]) -> None:
    assert {f"<|image_{number}|>" for number in range(1, 9)} < known
    assert "<##IMAGE##>" in known


def test_a_model_that_reads_text_alone_has_none() -> None:
    config: Any = SimpleNamespace(is_multimodal_model=False)

    assert placeholders(config) == set()


def test_templates_do_not_see_typed_ones_and_tokens_have_them_as_text(known: set[str]) -> None:
    typed = "see <|image_1|> and <##IMAGE##> and <s>"
    hidden = SpecialTokens(Characters(), known).hiding()

    shown = hidden.hide(typed)

    assert not any(text in shown for text in [*known, "<s>"])
    assert hidden.encode(f"[{shown}]") == [ord(character) for character in f"[{typed}]"]
