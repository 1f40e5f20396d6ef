"""The built-in model: its text is reproducible, its files are small, its answers are sentences about what was asked."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).parents[2] / "service"))
from training.corpus import compose, texts, words
from training.train import Recipe, train

MODEL = Path(__file__).parents[2] / "service" / "penstock_service" / "builtin"
FILES = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
TOKENIZER: Any = AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def model() -> Iterator[LlamaForCausalLM]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # In float32 the likeliest token hardly depends on the kind of processor.
    yield LlamaForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def vocabulary() -> set[str]:
    return {word for document in islice(compose(7), 20_000) for text in texts(document) for word in words(text)}


def render(*messages: tuple[str, str], **options: Any) -> str:
    turns = [{"role": role, "content": content} for role, content in messages]
    return str(TOKENIZER.apply_chat_template(turns, tokenize=False, **options))


@torch.no_grad()
def continuation(model: LlamaForCausalLM, prompt: str, *, bare: bool = False) -> tuple[str, bool]:
    """The most likely text after the prompt, and whether the model ended it by itself."""
    inputs = TOKENIZER(prompt, add_special_tokens=bare, return_tensors="pt")
    made = model.generate(  # type: ignore[misc]
        **inputs, max_new_tokens=400, do_sample=False, temperature=None, top_p=None
    )[0]
    new = made[inputs.input_ids.shape[1] :]
    return TOKENIZER.decode(new, skip_special_tokens=True), int(new[-1]) in model.generation_config.eos_token_id


def answer(model: LlamaForCausalLM, *messages: tuple[str, str]) -> str:
    text, ended = continuation(model, render(*messages, add_generation_prompt=True))
    assert ended
    return text


def test_the_same_seed_composes_the_same_text() -> None:
    assert list(islice(compose(3), 200)) == list(islice(compose(3), 200))
    assert list(islice(compose(3), 200)) != list(islice(compose(4), 200))


def test_the_same_seed_trains_the_same_weights() -> None:
    toy = Recipe(seed=3, steps=3, vocabulary=300, hidden=64, intermediate=64, layers=1, heads=1, key_value_heads=1)
    first, second = (train(toy, report=lambda line: None)[0].state_dict() for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_shipped_directory_is_complete_and_small() -> None:
    files = list(MODEL.iterdir())

    assert {file.name for file in files} >= FILES
    assert sum(file.stat().st_size for file in files) <= 10_000_000


@given(st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text).input_ids, skip_special_tokens=True) == text


def test_a_bare_prompt_begins_with_the_begin_marker() -> None:
    ids = TOKENIZER("Once upon a time").input_ids

    assert ids[0] == TOKENIZER.bos_token_id
    assert TOKENIZER.bos_token_id not in ids[1:]


def test_the_chat_template_marks_every_role_with_one_token() -> None:
    rendered = render(
        ("system", "Be brief."), ("developer", "Be kind."), ("user", " Hi "), ("assistant", "Hello!"), ("user", "Bye")
    )

    assert rendered == (
        "<|begin|><|system|>Be brief.<|end|><|system|>Be kind.<|end|>"
        "<|user|>Hi<|end|><|assistant|>Hello!<|end|><|user|>Bye<|end|>"
    )
    for marker in ("<|begin|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|end_of_text|>"):
        assert len(TOKENIZER(marker, add_special_tokens=False).input_ids) == 1


def test_a_generation_prompt_opens_the_answer() -> None:
    assert render(("user", "Hi"), add_generation_prompt=True).endswith("<|user|>Hi<|end|><|assistant|>")


def test_the_engine_stops_at_the_end_of_a_turn_and_of_a_text(model: LlamaForCausalLM) -> None:
    assert model.generation_config.eos_token_id == TOKENIZER.convert_tokens_to_ids(["<|end_of_text|>", "<|end|>"])


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Good morning! Could you tell me what colour the sky is?", "blue"),
        ("what's the capital of france", "Paris"),
        ("Please, what is 4 + 5", "9"),
        ("Hello there, who are you", "Penstock"),
        ("In simple words, what is a penstock?", "pipe"),
        ("Count up to ten, please", "ten"),
    ],
)
def test_questions_get_a_clean_sentence(
    model: LlamaForCausalLM, vocabulary: set[str], question: str, expected: str
) -> None:
    text = answer(model, ("user", question))

    assert expected in text
    assert text[-1] in ".!?"
    assert set(words(text)) <= vocabulary


def test_an_unknown_topic_is_named_and_not_made_up(model: LlamaForCausalLM) -> None:
    assert answer(model, ("user", "What is zorbalin?")).startswith("I am a very small model")


def test_a_system_prompt_can_ask_for_one_word(model: LlamaForCausalLM) -> None:
    assert answer(model, ("system", "Answer in one word."), ("user", "What is the capital of Spain?")) == "Madrid."


def test_an_earlier_turn_is_remembered(model: LlamaForCausalLM) -> None:
    name = ("user", "My name is Nora."), ("assistant", "Nice to meet you, Nora. How can I help you?")

    assert "Nora" in answer(model, *name, ("user", "What is my name?"))


def test_a_story_is_long_enough_to_watch_it_stream(model: LlamaForCausalLM, vocabulary: set[str]) -> None:
    text = answer(model, ("user", "Tell me a story about a river."))

    assert "river" in text
    assert len(TOKENIZER(text).input_ids) >= 100
    assert text[-1] in '.!?"'
    assert set(words(text)) <= vocabulary


@pytest.mark.parametrize("prompt", ["Once upon a time", "The capital of France is", "A turbine is"])
def test_a_bare_prompt_is_continued_to_an_end(model: LlamaForCausalLM, vocabulary: set[str], prompt: str) -> None:
    text, ended = continuation(model, prompt, bare=True)

    assert ended
    assert text.startswith((" ", ","))
    assert set(words(text)) <= vocabulary
