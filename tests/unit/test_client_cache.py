"""The cache forgets in order, its key holds all that shapes an answer, and only repeatable calls have one."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from penstock import Cache, Timeout
from penstock.accumulate import Accumulator
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.caching.cache_key import IN_NO_KEY, repeatable, request_key, whole
from penstock.caching.model_identity import ASKING_SECONDS, KnownModels, asking_terms, identify
from penstock.caching.replayed import one_chunk
from penstock.requests import batch_request, generate_request
from penstock.terms import Defaults
from penstock.v1 import generation_pb2 as pb
from penstock.v1 import models_pb2

# Every field that says something about the answer. Whoever adds one to the contract decides here or in IN_NO_KEY.
IN_KEY = {
    "GenerateRequest": """prompt token_ids conversation batch model sampling stopping response structured_output tools
        tool_choice reasoning num_sequences cache_salt prompt_options bypass_prefix_cache""",
    "TokenIds": "ids",
    "Conversation": "messages add_generation_prompt continue_final_message template_arguments",
    "Conversation.TemplateArgumentsEntry": "key value",
    "TemplateArgument": "flag integer number text",
    "Message": "role content tool_calls tool_call_id name reasoning",
    "ContentPart": "text image audio",
    "Media": "data url",
    "ToolCall": "id name arguments",
    "Batch": "inputs",
    "BatchInput": "prompt token_ids conversation",
    "SamplingOptions": """temperature top_p top_k min_p frequency_penalty presence_penalty repetition_penalty seed
        logit_bias bad_words allowed_token_ids""",
    "SamplingOptions.LogitBiasEntry": "key value",
    "StoppingOptions": "max_tokens min_tokens stop stop_token_ids include_stop ignore_eos",
    "ResponseOptions": """text token_ids logprobs prompt_logprobs skip_special_tokens spaces_between_special_tokens
        settings""",
    "StructuredOutput": "json_schema json_object regex choice grammar structural_tag",
    "JsonObject": "",
    "Choice": "options",
    "Tool": "name description parameters strict",
    "ToolChoice": "mode name parallel",
    "ReasoningOptions": "enabled effort max_tokens include",
    "PromptOptions": "truncate_tokens truncation_side add_special_tokens parse_special_tokens",
}


def reachable(descriptor: Descriptor, seen: set[str]) -> Iterator[Descriptor]:
    if descriptor.full_name in seen:
        return
    seen.add(descriptor.full_name)
    yield descriptor
    for field in descriptor.fields:
        if field.message_type:
            yield from reachable(field.message_type, seen)


def test_every_field_of_a_request_is_in_the_key_or_known_not_to_matter() -> None:
    fields = {
        message.full_name.removeprefix("penstock.v1."): {field.name for field in message.fields}
        for message in reachable(pb.GenerateRequest.DESCRIPTOR, set())
    }

    left_out = {name.removeprefix("penstock.v1."): names for name, names in IN_NO_KEY.items()}
    for message in IN_KEY:
        assert not left_out.get(message, frozenset()) & set(IN_KEY[message].split())
    assert fields == {name: {*names.split(), *left_out.get(name, ())} for name, names in IN_KEY.items()}


def key(request: pb.GenerateRequest, model: bytes = b"m", metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
    return request_key(request, model, metadata)


def test_how_an_answer_travels_is_not_in_the_key() -> None:
    plain = generate_request("Once", seed=1)

    other = generate_request(
        "Once", seed=1, request_id="r", idempotency_key="k", priority=3, on_deadline="return_partial", max_delay_ms=5
    )
    other.resumable = True

    assert key(other) == key(plain)
    assert other.request_id == "r"  # asking for the key changes nothing


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 2},
        {"seed": 1, "temperature": 0.5},
        {"seed": 1, "max_tokens": 3},
        {"seed": 1, "logprobs": 0},
        {"seed": 1, "model": "other"},
        {"seed": 1, "cache_salt": "another tenant"},
        {"seed": 1, "stop": ["a"]},
    ],
)
def test_what_shapes_an_answer_is_in_the_key(options: dict[str, object]) -> None:
    request = generate_request("Once", **options)  # type: ignore[arg-type]

    assert key(request) != key(generate_request("Once", seed=1))


def test_the_model_and_who_asks_are_in_the_key_and_traces_are_not() -> None:
    request = generate_request("Once", seed=1)

    trace = (("traceparent", "00-1"), ("tracestate", "a=b"), ("baggage", "c=d"))
    assert key(request, metadata=trace) == key(request)
    assert key(request, b"other") != key(request)
    assert key(request, metadata=(("x-tenant", "a"),)) != key(request, metadata=(("x-tenant", "b"),))
    assert key(request, metadata=(("a", "bc"),)) != key(request, metadata=(("ab", "c"),))


@given(st.permutations([(i, i / 8) for i in range(8)]))
def test_the_order_in_which_a_map_was_filled_does_not_matter(biases: list[tuple[int, float]]) -> None:
    request = generate_request("Once", seed=1, logit_bias=dict(biases))

    assert key(request) == key(generate_request("Once", seed=1, logit_bias=dict(sorted(biases))))


IMAGE = {"type": "image", "image": "https://example.org/cat.png"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"prompt": "Once", "temperature": 0}, True),
        ({"prompt": "Once", "seed": 0}, True),
        ({"prompt": "Once", "seed": 7, "temperature": 1}, True),
        ({"prompt": "Once"}, False),
        ({"prompt": "Once", "temperature": 0.1}, False),
        ({"prompt": "Once", "temperature": 0, "bypass_prefix_cache": True}, False),
        ({"messages": [{"role": "user", "content": "Hi"}], "seed": 1}, True),
        ({"messages": [{"role": "user", "content": [IMAGE]}], "seed": 1}, False),
        ({"messages": [{"role": "user", "content": [{"type": "image", "image": b"png"}]}], "seed": 1}, True),
    ],
)
def test_greedy_and_seeded_calls_are_repeatable(options: dict[str, object], expected: bool) -> None:
    assert repeatable(generate_request(**options)) is expected  # type: ignore[arg-type]


def test_a_batch_is_as_repeatable_as_its_inputs() -> None:
    assert repeatable(batch_request(["Once", "Twice"], seed=1))
    assert not repeatable(batch_request(["Once", [{"role": "user", "content": [IMAGE]}]], seed=1))


@pytest.mark.parametrize("reason", pb.FinishReason.values())
def test_only_answers_that_ended_by_themselves_are_kept(reason: "pb.FinishReason.ValueType") -> None:
    ended = pb.Sequence(finish=pb.Finish(reason=pb.FINISH_REASON_STOP))
    other = pb.Sequence(finish=pb.Finish(reason=reason))

    kept = reason in (pb.FINISH_REASON_STOP, pb.FINISH_REASON_TOOL_CALLS)
    assert whole(pb.GenerateResponse(sequences=[ended, other])) is kept
    assert not whole(pb.GenerateResponse())


def test_the_least_recently_used_answer_goes_first() -> None:
    cache = Cache(max_entries=2)
    cache.put(b"a", b"1", 0)
    cache.put(b"b", b"2", 0)

    cache.get(b"a", 1)
    cache.put(b"c", b"3", 1)

    assert [cache.get(name, 1) for name in (b"a", b"b", b"c")] == [b"1", None, b"3"]
    assert (len(cache), cache.size_bytes) == (2, 2)


def test_bytes_are_bounded_and_what_is_larger_is_not_kept() -> None:
    cache = Cache(max_bytes=10)
    cache.put(b"a", b"x" * 6, 0)
    cache.put(b"b", b"x" * 4, 0)

    cache.put(b"c", b"x" * 5, 0)
    cache.put(b"d", b"x" * 11, 0)

    assert [cache.get(name, 0) is not None for name in (b"a", b"b", b"c", b"d")] == [False, True, True, False]
    assert cache.size_bytes == 9


def test_an_answer_that_is_put_again_takes_the_place_of_the_first() -> None:
    cache = Cache(max_bytes=10)
    cache.put(b"a", b"x" * 6, 0)

    cache.put(b"a", b"y" * 7, 0)
    assert (cache.get(b"a", 0), cache.size_bytes) == (b"y" * 7, 7)

    cache.put(b"a", b"z" * 11, 0)  # too large, and the one before is old
    assert (cache.get(b"a", 0), cache.size_bytes) == (None, 0)


def test_an_answer_is_forgotten_after_its_time_however_often_it_is_used() -> None:
    cache = Cache(ttl=10)
    cache.put(b"a", b"1", 100)

    assert cache.get(b"a", 109.9) == b"1"
    assert cache.get(b"a", 110) is None
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_clearing_forgets_all() -> None:
    cache = Cache()
    cache.put(b"a", b"1", 0)

    cache.clear()

    assert (cache.get(b"a", 0), len(cache), cache.size_bytes) == (None, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 3))))
def test_the_bounds_hold_whatever_is_put(steps: list[tuple[int, int, int]]) -> None:
    cache, now = Cache(max_entries=3, max_bytes=10, ttl=4), 0
    expected: dict[bytes, tuple[bytes, int]] = {}

    for name, size, passed in steps:
        now += passed
        place, answer = bytes([name]), bytes([name]) * size
        cache.put(place, answer, now)
        expected[place] = (answer, now + 4)

        kept = {each: cache.get(each, now) for each in expected}
        assert all(found in (None, expected[each][0]) for each, found in kept.items())
        assert all(found is None for each, found in kept.items() if now >= expected[each][1])
        assert len(cache) <= 3
        assert cache.size_bytes == sum(len(found) for found in kept.values() if found is not None) <= 10


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_entries": 0}, "max_entries is 0; it must be 1 or more"),
        ({"max_bytes": -1}, "max_bytes is -1; it must be 0 or more"),
        ({"ttl": 0}, "ttl is 0; it must be above 0"),
        ({"ttl": float("nan")}, "ttl is nan"),
        ({"model_ttl": -1}, "model_ttl is -1.0; it must be 0 or more"),
    ],
)
def test_an_impossible_cache_is_named(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(ArgumentValueError, match=sentence):
        Cache(**options)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError):
        Cache(max_entries="many")  # type: ignore[arg-type]


POET = models_pb2.Adapter(name="poet", version="2", digest="sha256:p2")
TINY = models_pb2.Model(
    name="tiny",
    digest="sha256:t",
    engine="simulated",
    engine_version="1",
    adapters=[POET],
    adapter_aliases=[models_pb2.Alias(name="prod", target="poet@2")],
)


def changed(**fields: str) -> models_pb2.Model:
    model = models_pb2.Model()
    model.CopyFrom(TINY)
    for name, value in fields.items():
        setattr(model, name, value)
    return model


def test_another_digest_engine_or_adapter_is_another_model() -> None:
    base = identify("tiny", TINY)

    assert identify("", TINY) == base
    assert identify("prod", TINY) == identify("poet@2", TINY) != base
    assert (
        len({base.key, *(identify("tiny", changed(**{name: "x"})).key for name in ("digest", "engine_version"))}) == 3
    )


def test_weights_that_nobody_knows_are_those_of_one_start_of_the_server() -> None:
    first, second = changed(digest=""), changed(digest="")
    second.load_time.FromSeconds(60)

    assert identify("tiny", first) == identify("tiny", first)
    assert identify("tiny", first) != identify("tiny", second)


def test_a_reply_of_something_else_is_noticed() -> None:
    response = pb.GenerateResponse(model="tiny")
    adapted = pb.GenerateResponse(model="tiny", adapter=pb.AdapterVersion(name="poet", version="2", digest="sha256:p2"))

    assert identify("tiny", TINY).gave(response)
    assert not identify("tiny", TINY).gave(adapted)
    assert identify("prod", TINY).gave(adapted)
    assert not identify("prod", TINY).gave(response)
    assert not identify("tiny", TINY).gave(pb.GenerateResponse(model="other"))


def test_what_the_server_said_is_trusted_for_its_time() -> None:
    known, identity = KnownModels(5), identify("prod", TINY)

    known.put("prod", identity, 100)

    assert (known.get("prod", 104.9), known.get("prod", 105)) == (identity, None)
    known.forget("prod")
    assert known.get("prod", 101) is None
    assert known.get("other", 101) is None


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (Timeout(), ASKING_SECONDS),
        (Timeout(total=60, first_token=30), ASKING_SECONDS),
        (Timeout(total=60, first_token=1), 1),
        (Timeout(total=2.5), 1.5),
    ],
)
def test_the_question_which_model_it_is_leaves_time_for_the_call(timeout: Timeout, seconds: float) -> None:
    terms = Defaults(timeout=timeout, metadata=(("x-tenant", "a"),)).terms(now=100)

    asking = asking_terms(terms, now=101)

    assert (asking.ends, asking.timeout.total) == (101 + seconds, seconds)
    assert (asking.timeout.connect, asking.metadata) == (terms.timeout.connect, terms.metadata)


def test_an_answer_as_one_chunk_is_the_answer() -> None:
    calls = [pb.ToolCall(id="a", name="add", arguments="{}"), pb.ToolCall(id="b", name="now")]
    finish = pb.Finish(reason=pb.FINISH_REASON_STOP, stop_text=".")
    first = pb.Sequence(text="One", reasoning="Hm", token_ids=[1, 2], tokens=[pb.TokenInfo(token_id=1)], finish=finish)
    response = pb.GenerateResponse(
        id="gen",
        model="tiny",
        request_id="job",
        sequences=[first, pb.Sequence(index=1, tool_calls=calls, finish=pb.Finish(reason=pb.FINISH_REASON_TOOL_CALLS))],
        usage=pb.Usage(completion_tokens=2),
        timings=pb.Timings(queue_time_ms=1, chunk_count=1),
        prompt=[pb.TokenInfo(token_id=7)],
        settings=pb.Settings(num_sequences=2),
        adapter=pb.AdapterVersion(name="poet"),
    )
    received = Accumulator()

    received.add(one_chunk(response))
    received.check_complete()

    assert received.reply().proto == response


def test_every_field_of_an_answer_is_in_its_chunk() -> None:
    def fields(descriptor: Descriptor) -> set[str]:
        return {field.name for field in descriptor.fields}

    only_of_batches = {"results"}
    other_names = {"sequences", "deltas", "seq"}
    assert fields(pb.GenerateResponse.DESCRIPTOR) - only_of_batches - other_names == (
        fields(pb.GenerateChunk.DESCRIPTOR) - other_names
    )
    assert fields(pb.Sequence.DESCRIPTOR) == fields(pb.SequenceDelta.DESCRIPTOR)
