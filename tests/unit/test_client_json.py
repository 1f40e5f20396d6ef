"""JSON is read as it stands, found inside what models write around it, and mended only on request."""

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.json_answers.answers import InvalidJSONError, JsonAnswer, JsonQuestion
from penstock.json_answers.repairs import with_schemas_keys
from penstock.reply import Reply
from penstock.v1 import generation_pb2 as pb

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


class Person(BaseModel):
    name: str
    age: int = 0


def reply(text: str, reason: "pb.FinishReason.ValueType" = pb.FINISH_REASON_STOP) -> Reply:
    finish = pb.Finish(reason=reason)
    usage = pb.Usage(completion_tokens=17)
    return Reply(pb.GenerateResponse(sequences=[pb.Sequence(text=text, finish=finish)], usage=usage))


def read(text: str, schema: Any = None, *, repair: bool = True, constrain: bool = False) -> JsonAnswer:
    return JsonQuestion("Who?", schema, constrain, repair).read(reply(text))


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
containers = st.lists(documents, max_size=4) | st.dictionaries(st.text(), documents, max_size=4)
tricky = st.sampled_from(["```", "</think>", "[CONTENT]", "// no comment", "# none", '"', "\\", "}", "{", "<json>"])


@given(containers, st.sampled_from([None, 2]), st.booleans())
def test_valid_json_is_never_changed_nor_called_repaired(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    answer = read(text)

    assert (answer.value, answer.repaired, answer.raw) == (value, False, text)


@given(st.dictionaries(st.text(max_size=5) | tricky, tricky | st.lists(tricky), min_size=1, max_size=3))
def test_what_is_written_around_valid_json_does_not_change_it(value: Any) -> None:
    text = json.dumps(value)
    around = [
        f"```json\n{text}\n```",
        f"Here it is:\n```\n{text}\n```\nAnything else?",
        f"[CONTENT]\n{text}\n[/CONTENT]",
        f"[CONTENT]\n{text}\n[CONTENT]",
        f"<json>{text}</json>",
        f"<think>Is it {{}}? Or [1]?</think>{text}",
        f"They want {{a}} document.\n</think>\n\n{text}",
        f"<think>Hm.</think>[CONTENT]```json\n{text}\n```[/CONTENT]",
        f"Sure! {text} Hope this helps (see [1]).",
        f"[CONTENT]{text}",
        f"```json\n{text}",
    ]

    for written in around:
        answer = read(written, repair=False)
        assert (answer.value, answer.repaired) == (value, False), written


BROKEN = {
    "a bracket is missing": ('{"name": "Ada", "tags": ["a", "b"}', {"name": "Ada", "tags": ["a", "b"]}),
    "a brace is missing": ('{"name": "Ada", "tags": ["a"]', {"name": "Ada", "tags": ["a"]}),
    "a brace is missing inside": ('{"a": {"b": 1, "c": 2', {"a": {"b": 1, "c": 2}}),
    "a bracket too many": ('{"tags": ["a"]]}', {"tags": ["a"]}),
    "braces too many": ('{"name": "Ada"}}}', {"name": "Ada"}),
    "a bracket after the object": ('{"name": "Ada"}]', {"name": "Ada"}),
    "a stray bracket before the end": ('{"a": "x",\n"b": ["y"],\n]\n}', {"a": "x", "b": ["y"]}),
    "a comma too many": ('{"name": "Ada", "tags": ["a", ], }', {"name": "Ada", "tags": ["a"]}),
    "a comma after the object": ('{"name": "Ada"},', {"name": "Ada"}),
    "a comma is missing": ('{"name": "Ada"\n"age": 3}', {"name": "Ada", "age": 3}),
    "comments of two slashes": ('{"name": "Ada", // who\n"age": 3 // years\n}', {"name": "Ada", "age": 3}),
    "comments of a hash": ('{"name": "Ada", # who\n"age": 3 # years\n}', {"name": "Ada", "age": 3}),
    "a comment with quotes": ('{"name": "Ada" // the "first"\n}', {"name": "Ada"}),
    "a comment before it": ('# the person\n{"name": "Ada",}', {"name": "Ada"}),
    "no comment inside a string": (
        '{"url": "http://a.org/#b", "c": "/* no */",}',
        {"url": "http://a.org/#b", "c": "/* no */"},
    ),
    "escapes that are none": (r'{"path": "C:\dir", "name": "it\'s"}', {"path": "C:\\dir", "name": "it's"}),
    "everything escaped": (r"{\"name\": \"Ada\", \"age\": 3}", {"name": "Ada", "age": 3}),
    "single quotes and Python's words": (
        "{'name': 'Ada', 'ok': True, 'no': None}",
        {"name": "Ada", "ok": True, "no": None},
    ),
    "what looks like comments in single quotes": (
        "{'url': 'http://a.org/a', 'color': '#fff', 'c': '/* no */', 'b': [1, 2]}",
        {"url": "http://a.org/a", "color": "#fff", "c": "/* no */", "b": [1, 2]},
    ),
    "comments between single quotes": ("{'name': 'Ada', # it's her\n'age': 3 // years\n}", {"name": "Ada", "age": 3}),
    "inside a tag": ('[CONTENT]\n{"name": "Ada",}\n[/CONTENT]', {"name": "Ada"}),
    "inside a tag that ends with itself": ('[CONTENT]\n{"name": "Ada"\n[CONTENT]', {"name": "Ada"}),
    "inside a fence": ('```json\n{"name": "Ada", // who\n}\n```', {"name": "Ada"}),
    "a fence inside a string": ('{"code": "```py\nx\n```", }', {"code": "```py\nx\n```"}),
}


@pytest.mark.parametrize(("text", "value"), BROKEN.values(), ids=list(BROKEN))
def test_what_models_get_wrong_is_mended_and_told(text: str, value: Any) -> None:
    answer = read(text)

    assert (answer.value, answer.repaired, answer.raw) == (value, True, text)


@pytest.mark.parametrize("text", [text for text, _ in BROKEN.values()], ids=list(BROKEN))
def test_nothing_is_mended_unasked(text: str) -> None:
    with pytest.raises(InvalidJSONError) as caught:
        read(text, repair=False)

    assert caught.value.raw == text


@pytest.mark.parametrize(
    "text",
    [
        'Step [2]: done. {"name": "Ada"}',
        'After [1] and [2, 3]:\n```json\n{"name": "Ada"}\n```\nSee [4] and {this}.',
        'As in [1] and [sic]: so "[2] or {x}" it is. {"name": "Ada"}',
        '[ ] to do: {"name": "Ada"} or [{"name": "Bob"}]',
    ],
)
@pytest.mark.parametrize("schema", [None, PERSON, Person], ids=["none", "dict", "pydantic"])
def test_lists_among_words_are_not_taken_for_the_object(text: str, schema: Any) -> None:
    answer = read(text, schema, repair=False)

    assert (answer.value, answer.repaired) == (Person(name="Ada") if schema is Person else {"name": "Ada"}, False)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (PERSON, {"name": "Ada"}),
        ({"type": "array", "items": {"type": "string"}}, ["a"]),
        ({"required": ["age"]}, {"age": 3}),
        ({"items": {"required": ["none"]}, "type": "array"}, [2]),
    ],
)
def test_of_several_documents_among_words_the_schema_tells_which_is_meant(schema: Any, value: Any) -> None:
    text = 'See [2]. First {"age": 3} and then {"name": "Ada"}; also ["a"] or [{"b": 1}].'

    answer = read(text, schema, repair=False)

    assert (answer.value, answer.repaired) == (value, False)


def test_an_object_behind_a_list_and_words_is_mended_like_any_other() -> None:
    text = "Step [2]: done. {'name': 'Ada', 'friends': [{'name': 'Bob'}]}"

    for schema in (None, {"required": ["name"], "type": "object"}):
        answer = read(text, schema)
        assert (answer.value, answer.repaired) == ({"name": "Ada", "friends": [{"name": "Bob"}]}, True)
        with pytest.raises(InvalidJSONError):
            read(text, schema, repair=False)


def test_none_of_several_documents_is_taken_if_the_schema_permits_none() -> None:
    with pytest.raises(InvalidJSONError, match="'name' is a required property"):
        read('Step [2]: done. {"age": 3}', PERSON)


def test_a_list_with_words_after_it_stays_the_document() -> None:
    text = '["a", "b"] as in {docs}, [sic] and [1]'

    assert read(text, repair=False).value == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sorry, I cannot.",
        "42",
        '"text"',
        '{"a": 1}\n{"b": 2}',
        '{"a": 1}, {"b": 2}',
        'Step [2]: done. {"a": 1}\n{"b": 2}',
        "NaN",
        "[" * 100_000,
    ],
)
def test_what_is_no_document_is_refused_even_with_repair(text: str) -> None:
    with pytest.raises(InvalidJSONError) as caught:
        read(text)

    assert caught.value.raw == text


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (pb.FINISH_REASON_LENGTH, "length"),
        (pb.FINISH_REASON_CONTEXT_LENGTH, "context_length"),
        (pb.FINISH_REASON_DEADLINE, "deadline"),
    ],
)
@pytest.mark.parametrize("text", ['{"name": "Ada", "ag', '{"name": "Ada"}'])
def test_a_document_that_was_cut_off_is_refused_and_not_mended(text: str, reason: Any, name: str) -> None:
    question = JsonQuestion("Who?", None, False, True)

    with pytest.raises(InvalidJSONError, match=rf"cut off at 17 tokens \({name}\)") as caught:
        question.read(reply(text, reason))

    assert caught.value.raw == text


@pytest.mark.parametrize("schema", [PERSON, json.dumps(PERSON)], ids=["dict", "text"])
def test_a_mended_document_is_held_against_the_schema(schema: Any) -> None:
    assert read('{"name": "Ada", "age": 3,}', schema).value == {"name": "Ada", "age": 3}
    with pytest.raises(InvalidJSONError, match=r"\$\.age: 'three' is not of type 'integer'"):
        read('{"name": "Ada", "age": "three",}', schema)


def test_keys_in_the_wrong_case_become_the_schemas() -> None:
    answer = read('{"Name": "Ada", "AGE": 3}', PERSON)

    assert (answer.value, answer.repaired) == ({"name": "Ada", "age": 3}, True)
    with pytest.raises(InvalidJSONError):
        read('{"Name": "Ada"}', PERSON, repair=False)


def test_keys_that_the_schema_permits_stay_as_they_are() -> None:
    open_schema = {"type": "object", "properties": {"name": {"type": "string"}}}

    answer = read('{"Name": "Ada"}', open_schema)

    assert (answer.value, answer.repaired) == ({"Name": "Ada"}, False)


def test_keys_are_found_wherever_the_schema_has_them() -> None:
    schema = {
        "$defs": {"person": {"properties": {"name": {}, "friends": {"items": {"$ref": "#/$defs/person"}}}}},
        "anyOf": [{"$ref": "#/$defs/person"}, {"type": "null"}],
        "additionalProperties": {"properties": {"city": {}}},
    }
    value = {"NAME": 1, "Friends": [{"Name": 2, "friends": [{"nAme": 3}]}], "other": {"City": 4}}

    assert with_schemas_keys(value, schema) == {
        "name": 1,
        "friends": [{"name": 2, "friends": [{"name": 3}]}],
        "other": {"city": 4},
    }


def test_a_key_that_could_be_two_or_is_there_already_stays() -> None:
    schema = {"properties": {"id": {}, "ID": {}, "name": {}}}

    for value in ({"Id": 1}, {"name": 1, "Name": 2}, {"Name": 1, "NAME": 2}):
        assert with_schemas_keys(value, schema) == value


def test_a_pydantic_model_gives_its_instance() -> None:
    question = JsonQuestion("Who?", Person, True, False)

    assert json.loads(question.request.structured_output.json_schema) == Person.model_json_schema()
    assert question.read(reply('{"name": "Ada", "age": 3}')).value == Person(name="Ada", age=3)
    assert read('{"Name": "Ada",}', Person).value == Person(name="Ada")
    with pytest.raises(InvalidJSONError, match="age"):
        read('{"name": "Ada", "age": "three"}', Person)


def test_the_server_is_asked_for_the_form_unless_it_has_none() -> None:
    def form(schema: Any, constrain: bool) -> pb.StructuredOutput:
        return JsonQuestion("Who?", schema, constrain, False).request.structured_output

    assert json.loads(form(PERSON, True).json_schema) == PERSON
    assert form(None, True).HasField("json_object")
    assert form(PERSON, False) == form(None, False) == pb.StructuredOutput()


@pytest.mark.parametrize(
    ("schema", "kind", "sentence"),
    [
        (3, ArgumentTypeError, "schema must be a dict, JSON as a str, or a pydantic model, not int"),
        (int, ArgumentTypeError, "schema must be a dict, JSON as a str, or a pydantic model, not type"),
        ("{", ArgumentValueError, "schema is no JSON"),
        ("[1]", ArgumentTypeError, "schema must be a JSON object, not list"),
        ({"type": "thing"}, ArgumentValueError, "schema is no JSON Schema"),
    ],
)
def test_a_wrong_schema_is_named_before_the_call(schema: Any, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        JsonQuestion("Who?", schema, False, False)


def test_a_schema_is_the_only_form() -> None:
    with pytest.raises(ArgumentValueError, match="regex cannot go with json"):
        JsonQuestion("Who?", PERSON, True, False, regex="a")


def test_what_a_schema_refers_to_elsewhere_is_not_fetched() -> None:
    with pytest.raises(InvalidJSONError, match="which is not in it"):
        read('{"a": 1}', {"properties": {"a": {"$ref": "https://example.org/schema"}}})


@pytest.mark.parametrize(
    ("module", "schema", "repair", "sentence"),
    [
        ("json_repair", None, True, "repair=True needs json-repair: pip install 'penstock\\[json\\]'"),
        ("jsonschema", PERSON, False, "takes jsonschema: pip install 'penstock\\[json\\]'"),
    ],
)
def test_a_missing_extra_is_named_before_the_call(
    monkeypatch: pytest.MonkeyPatch, module: str, schema: Any, repair: bool, sentence: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)

    with pytest.raises(ImportError, match=sentence):
        JsonQuestion("Who?", schema, False, repair)
    JsonQuestion("Who?", schema, True, False)


def test_the_error_passes_between_processes() -> None:
    error = InvalidJSONError("it is none", reply("{"))

    copied = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes

    assert (str(copied), copied.problem, copied.raw) == ("it is none", "it is none", "{")
