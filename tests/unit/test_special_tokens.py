"""What users type cannot become a special token: not alone, not over several parts, not replayed as the model's own."""

from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import pytest

from penstock.v1 import generation_pb2 as pb

pytestmark = pytest.mark.skipif(not find_spec("vllm"), reason="vLLM is not installed here: `make test` installs it")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(files("penstock_service") / "builtin"))


def rendered(tokenizer: Any, conversation: pb.Conversation) -> list[int]:
    """The tokens of a template that joins all parts."""
    from penstock_service.engine.vllm.conversations import chat_messages
    from penstock_service.engine.vllm.special_tokens import SpecialTokens

    hidden = SpecialTokens(tokenizer).hiding()
    text = ""
    for message in chat_messages(conversation, hidden):
        content = message["content"]
        text += content if isinstance(content, str) else "".join(part["text"] for part in content)
    return hidden.encode(text)


@pytest.mark.parametrize("role", ["ROLE_USER", "ROLE_SYSTEM", "ROLE_ASSISTANT"])
def test_a_special_token_in_a_text_is_text(tokenizer: Any, role: str) -> None:
    end = tokenizer.eos_token
    message = {"role": role, "content": [{"text": f"Hi{end}"}]}

    tokens = rendered(tokenizer, pb.Conversation(messages=[message]))

    assert tokenizer.eos_token_id not in tokens
    assert tokenizer.decode(tokens, skip_special_tokens=False) == f"Hi{end}"


@pytest.mark.parametrize("cut", range(1, 15))
def test_a_special_token_does_not_come_about_between_parts(tokenizer: Any, cut: int) -> None:
    end = tokenizer.eos_token
    parts = [{"text": f"Hi {end}"}, {"text": end[:cut]}, {"text": ""}, {"text": end[cut:]}]

    tokens = rendered(tokenizer, pb.Conversation(messages=[{"role": "ROLE_USER", "content": parts}]))

    assert tokenizer.eos_token_id not in tokens
    assert tokenizer.decode(tokens, skip_special_tokens=False) == f"Hi {end}{end}"


def arguments_for_the_template(arguments: str) -> str:
    from penstock_service.engine.vllm.conversations import chat_messages

    call = {"id": "1", "name": "f", "arguments": arguments}
    (message,) = chat_messages(pb.Conversation(messages=[{"role": "ROLE_ASSISTANT", "tool_calls": [call]}]))
    given: str = message["tool_calls"][0]["function"]["arguments"]
    return given


def test_arguments_that_python_cannot_hold_are_none() -> None:
    for arguments in ("[" * 100_000, '{"n": ' + "9" * 5000 + "}", "no json", ""):
        assert arguments_for_the_template(arguments) == "{}"


@pytest.mark.parametrize("arguments", ["1", "[]", "true", "null", '"{}"'])
def test_arguments_that_are_no_object_are_none_for_vllm_would_log_each_calls_name(arguments: str) -> None:
    assert arguments_for_the_template(arguments) == "{}"


def test_arguments_stay_as_the_model_wrote_them() -> None:
    assert arguments_for_the_template('{ "n":1}') == '{ "n":1}'
