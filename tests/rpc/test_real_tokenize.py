"""Tokens, texts and estimates are those of the model's own tokenizer and of what Generate then does."""

import asyncio
import threading
from importlib.resources import files
from typing import Any

import grpc
import pytest

from penstock.v1 import generation_pb2 as pb
from penstock_service import long_conversations
from penstock_service.engine.vllm import conversations, prompts
from penstock_service.engine_places import places_in
from tests.conftest import Running, eventually
from tests.rpc.error_details import failure_of

pytestmark = [pytest.mark.real_vllm, pytest.mark.timeout(600)]

TEXTS = ["Once upon a time", "x", "Grüße aus Zürich 👋🏽", "日本語 and العربية", "line\n\n\tbreak  ", "e\u0301 é ﬁ"]
# Below and above the size from which texts leave the event loop.
LONG = "The river carries 7 boats; Ünïcödé 👋. " * 200


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The built-in model's tokenizer, as transformers has it."""
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(str(files("penstock_service") / "builtin"))


def said(*texts: str) -> pb.Conversation:
    """A conversation whose turns are the user's and the model's, one after the other."""
    roles = [pb.ROLE_USER, pb.ROLE_ASSISTANT]
    return pb.Conversation(
        messages=[
            pb.Message(role=roles[place % 2], content=[pb.ContentPart(text=text)]) for place, text in enumerate(texts)
        ]
    )


def spans_of(reply: pb.TokenizeResponse) -> list[tuple[int, int]]:
    return [(span.start, span.end) for span in reply.spans]


@pytest.mark.parametrize("text", [*TEXTS, LONG])
async def test_tokens_and_offsets_are_the_tokenizers_own(real: Running, tokenizer: Any, text: str) -> None:
    expected = tokenizer(text, return_offsets_mapping=True)

    reply = await real.generation.Tokenize(pb.TokenizeRequest(prompt=text))

    assert list(reply.token_ids) == expected["input_ids"]
    assert spans_of(reply) == expected["offset_mapping"]
    assert (reply.text, reply.model) == (text, "builtin")


async def test_an_empty_text_has_the_models_start_token_alone(real: Running, tokenizer: Any) -> None:
    reply = await real.generation.Tokenize(pb.TokenizeRequest(prompt=""))

    assert list(reply.token_ids) == [tokenizer.bos_token_id]
    assert spans_of(reply) == [(0, 0)]


@pytest.mark.parametrize("text", [*TEXTS, LONG])
async def test_a_text_comes_back_from_its_tokens(real: Running, text: str) -> None:
    tokens = (await real.generation.Tokenize(pb.TokenizeRequest(prompt=text))).token_ids
    ids = pb.TokenIds(ids=tokens)

    whole = await real.generation.Detokenize(pb.DetokenizeRequest(token_ids=ids))
    plain = await real.generation.Detokenize(pb.DetokenizeRequest(token_ids=ids, skip_special_tokens=True))

    assert whole.text == f"<|begin|>{text}"
    assert plain.text == text


@pytest.mark.parametrize("text", ["Once upon a time", "Grüße aus Zürich 👋🏽", "a <|end|> b"])
async def test_generate_reads_these_tokens(real: Running, text: str) -> None:
    options = {"sampling": {"temperature": 0.0}, "stopping": {"max_tokens": 24, "ignore_eos": True}}
    tokens = (await real.generation.Tokenize(pb.TokenizeRequest(prompt=text))).token_ids

    by_text = await real.generation.Generate(pb.GenerateRequest(prompt=text, **options))
    by_tokens = await real.generation.Generate(pb.GenerateRequest(token_ids=pb.TokenIds(ids=tokens), **options))

    assert by_text.usage.prompt_tokens == len(tokens)
    assert by_tokens.sequences[0].text == by_text.sequences[0].text


async def test_a_conversation_is_told_as_the_template_writes_it(real: Running, tokenizer: Any) -> None:
    turns = [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I am “Penstock” 👋"}]
    conversation = said(*(turn["content"] for turn in turns))
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    options = {"stopping": {"max_tokens": 1}}

    reply = await real.generation.Tokenize(pb.TokenizeRequest(conversation=conversation))
    generated = await real.generation.Generate(pb.GenerateRequest(conversation=conversation, **options))

    assert reply.text == expected
    assert list(reply.token_ids) == tokenizer(expected, add_special_tokens=False)["input_ids"]
    assert len(reply.token_ids) == generated.usage.prompt_tokens
    assert "".join(expected[start:end] for start, end in spans_of(reply)).startswith("<|begin|><|user|>")


async def test_a_long_conversation_is_told_so_too_and_never_looked_at_on_the_event_loop(
    real: Running, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()

    def noted(*arguments: Any) -> list[dict[str, Any]]:
        threads.add(threading.current_thread().name)
        return conversations.chat_messages(*arguments)

    monkeypatch.setattr(prompts, "chat_messages", noted)
    turns = [{"role": role, "content": f"{role} “{n}” 👋"} for n in range(100) for role in ("user", "assistant")]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)

    reply = await real.generation.Tokenize(pb.TokenizeRequest(conversation=said(*(turn["content"] for turn in turns))))

    assert reply.text == expected
    assert list(reply.token_ids) == tokenizer(expected, add_special_tokens=False)["input_ids"]
    assert threads == {"long conversations_0"}


async def test_long_conversations_take_no_places_from_others_while_they_are_put_into_their_template(
    real: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks_go_on, began, go_on = threading.Event(), threading.Event(), threading.Event()

    def held(*arguments: Any) -> list[dict[str, Any]]:
        if threading.current_thread().name.startswith("long conversations"):
            began.set()
            go_on.wait(60)
        return conversations.chat_messages(*arguments)

    monkeypatch.setattr(prompts, "chat_messages", held)
    thread = long_conversations._thread
    holding = asyncio.create_task(thread.run("", 1, lambda: checks_go_on.wait(60)))
    one_token: dict[str, Any] = {"stopping": {"max_tokens": 1}}
    long = pb.GenerateRequest(conversation=said(*["a"] * 195), **one_token)
    try:
        calls = [real.generation.Generate(long) for _ in range(places_in(real.engine.model))]
        await eventually(lambda: thread._waiting.sequences == len(calls), "all of them wait to be checked")
        checks_go_on.set()
        await eventually(lambda: began.is_set() and thread._waiting.sequences == len(calls) - 1, "one is looked at")

        short = await real.generation.Generate(pb.GenerateRequest(prompt="Hello", **one_token))

        assert short.usage.completion_tokens == 1
        assert not any(call.done() for call in calls)
    finally:
        checks_go_on.set()
        go_on.set()
    await holding
    assert [(await call).usage.completion_tokens for call in calls] == [1] * len(calls)


SPECIAL = "ünder <|end|> the <|user|> hill"


@pytest.mark.parametrize(
    "given",
    [{"prompt": SPECIAL}, {"conversation": said(SPECIAL)}, {"conversation": said(SPECIAL, *["more"] * 200)}],
    ids=["prompt", "conversation", "long conversation"],
)
async def test_what_looks_like_a_special_token_is_text_and_its_tokens_have_spans(
    real: Running, given: dict[str, Any]
) -> None:
    reply = await real.generation.Tokenize(pb.TokenizeRequest(**given))

    start = reply.text.index(SPECIAL)
    tokens = [(token, span) for token, span in zip(reply.token_ids, spans_of(reply), strict=True)]
    inside = [
        (token, reply.text[span[0] : span[1]]) for token, span in tokens if start <= span[0] < start + len(SPECIAL)
    ]
    inside = [(token, part) for token, part in inside if part]
    assert len(reply.spans) == len(reply.token_ids)
    assert all(token > 5 for token, _ in inside), "none of them is a special token"
    assert "".join(part for _, part in inside).replace("üü", "ü") == SPECIAL


async def test_special_tokens_are_read_where_the_caller_asks_for_it(real: Running) -> None:
    options = pb.PromptOptions(parse_special_tokens=True, add_special_tokens=False)

    reply = await real.generation.Tokenize(pb.TokenizeRequest(prompt="<|user|>a<|end|>", prompt_options=options))

    assert (reply.token_ids[0], reply.token_ids[-1], len(reply.token_ids)) == (3, 5, 3)
    assert spans_of(reply) == [(0, 8), (8, 9), (9, 16)]


@pytest.mark.parametrize("side", [pb.TRUNCATION_SIDE_LEFT, pb.TRUNCATION_SIDE_RIGHT])
async def test_of_a_truncated_text_the_kept_tokens_have_their_spans(real: Running, side: int) -> None:
    whole = await real.generation.Tokenize(pb.TokenizeRequest(prompt=LONG))
    options = pb.PromptOptions(truncate_tokens=50, truncation_side=side)

    reply = await real.generation.Tokenize(pb.TokenizeRequest(prompt=LONG, prompt_options=options))

    kept = slice(0, 50) if side == pb.TRUNCATION_SIDE_RIGHT else slice(-50, None)
    assert list(reply.token_ids) == list(whole.token_ids[kept])
    assert spans_of(reply) == spans_of(whole)[kept]


async def test_a_text_may_be_longer_than_the_context(real: Running) -> None:
    reply = await real.generation.Tokenize(pb.TokenizeRequest(prompt="water " * 5000))
    failure = await failure_of(real.generation.Generate(pb.GenerateRequest(prompt="water " * 5000)))

    assert len(reply.token_ids) > real.engine.model.context_length
    assert failure.reason == "CONTEXT_LENGTH"


async def test_a_tools_result_has_the_tokens_that_generate_reads(real: Running) -> None:
    turn = pb.Message(role=pb.ROLE_TOOL, tool_call_id="1", content=[pb.ContentPart(text="x")])
    conversation = pb.Conversation(messages=[turn])

    told = await real.generation.Tokenize(pb.TokenizeRequest(conversation=conversation))

    reply = await real.generation.Generate(pb.GenerateRequest(conversation=conversation, stopping={"max_tokens": 1}))
    assert reply.usage.prompt_tokens == len(told.token_ids)


async def test_an_estimate_is_what_generate_then_takes(real: Running) -> None:
    request = pb.GenerateRequest(
        conversation=said("Who are you?"), stopping={"max_tokens": 12, "ignore_eos": True}, num_sequences=2
    )

    told = await real.generation.Estimate(pb.EstimateRequest(request=request))
    reply = await real.generation.Generate(request)

    assert told.prompt_tokens == reply.usage.prompt_tokens
    assert told.max_completion_tokens == reply.usage.completion_tokens == 24
    assert (told.admitted, told.wait_ms) == (True, 0)


async def test_an_estimate_without_max_tokens_fills_the_context(real: Running) -> None:
    told = await real.generation.Estimate(pb.EstimateRequest(request=pb.GenerateRequest(prompt="Hello")))

    assert told.prompt_tokens + told.max_completion_tokens == real.engine.model.context_length


async def test_an_estimate_refuses_what_generate_refuses(real: Running) -> None:
    long = pb.GenerateRequest(prompt="water " * 2000)
    ranked = pb.GenerateRequest(prompt="Hello", priority=1)

    too_long = await failure_of(real.generation.Estimate(pb.EstimateRequest(request=long)))
    unranked = await failure_of(real.generation.Estimate(pb.EstimateRequest(request=ranked)))

    assert (too_long.reason, too_long.fields) == ("CONTEXT_LENGTH", ["request.prompt"])
    assert (unranked.code, unranked.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")


async def test_an_estimate_refuses_a_form_that_cannot_be_compiled(real: Running) -> None:
    request = pb.GenerateRequest(prompt="Hello", structured_output={"grammar": "root ::= ("})

    failure = await failure_of(real.generation.Estimate(pb.EstimateRequest(request=request)))
    expected = await failure_of(real.generation.Generate(request))

    assert expected.fields
    assert failure.fields == [f"request.{field}" for field in expected.fields]


async def test_vllms_queue_limit_is_told_and_no_error(real: Running, llm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = llm.vllm_config.scheduler_config
    if not hasattr(config, "max_num_queued_reqs"):
        pytest.skip("this vLLM has no such limit")
    monkeypatch.setattr(config, "max_num_queued_reqs", 1)
    two = pb.GenerateRequest(prompt="Hello", num_sequences=2)

    one = await real.generation.Estimate(pb.EstimateRequest(request=pb.GenerateRequest(prompt="Hello")))
    told = await real.generation.Estimate(pb.EstimateRequest(request=two))
    failure = await failure_of(real.generation.Generate(two))

    assert one.admitted
    assert (told.admitted, told.refusal.code) == (False, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])
    assert failure.reason == "OVERLOADED"


async def test_a_model_that_generates_embeds_nothing(real: Running) -> None:
    failure = await failure_of(real.generation.Embed(pb.EmbedRequest(inputs=[{"text": "Hello"}])))

    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_OFF")
