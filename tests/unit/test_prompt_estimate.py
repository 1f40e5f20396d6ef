"""How many tokens prompts are likely to have, by those that ended."""

import pytest

from penstock.v1.generation_pb2 import ContentPart, Conversation, GenerateRequest, Media, Message
from penstock_service.prompt_estimate import PromptEstimate

PROMPT = GenerateRequest(prompt="x" * 1000)


def test_it_follows_the_last_prompts() -> None:
    estimate = PromptEstimate()
    assert estimate.tokens(PROMPT, 4096) == 250

    estimate.learn(PROMPT, 500)

    assert estimate.tokens(PROMPT, 4096) == 500


@pytest.mark.parametrize(("learnt", "least", "most"), [(1, 62, 63), (4000, 1000, 1000)])
def test_odd_prompts_of_one_caller_leave_it_within_bounds(learnt: int, least: int, most: int) -> None:
    estimate = PromptEstimate()

    estimate.learn(PROMPT, learnt)

    assert least <= estimate.tokens(PROMPT, 4096) <= most


def test_what_a_picture_takes_is_no_texts_length() -> None:
    picture = Message(content=[ContentPart(text="What?"), ContentPart(image=Media(data=b"x"))])
    estimate = PromptEstimate()

    estimate.learn(GenerateRequest(conversation=Conversation(messages=[picture])), 1500)

    assert estimate.tokens(PROMPT, 4096) == 250
