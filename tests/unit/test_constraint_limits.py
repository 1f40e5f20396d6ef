"""What is judged of structured output without compiling it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1 import generation_pb2 as pb
from penstock_service.constraint_limits import schema_violations, violations


def found(**constraint: Any) -> list[tuple[str, str]]:
    return [tuple(each) for each in violations(pb.StructuredOutput(**constraint), "structured_output")]


def wrong(document: Any) -> str:
    """What is said of a JSON Schema; empty if nothing is."""
    text = document if isinstance(document, str) else json.dumps(document)
    return "; ".join(each.description for each in schema_violations(text, "parameters"))


def nested(levels: int) -> Any:
    document: Any = {}
    for _ in range(levels - 1):
        document = {"items": document}
    return document


def test_a_constraint_must_be_set() -> None:
    ((field, sentence),) = found()

    assert field == "structured_output"
    assert "set one of json_schema, json_object, regex, choice, grammar, structural_tag" in sentence
    assert found(json_object=pb.JsonObject()) == []


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("json_schema", "{}", '{"title":"' + "x" * (65536 - 12) + '"}'),
        ("regex", "a", "é" * 512),
        ("grammar", "r::=a", "root ::= " + "x" * (65536 - 9)),
        ("structural_tag", "{}", '{"title":"' + "x" * (65536 - 12) + '"}'),
    ],
)
def test_texts_have_sizes_in_bytes(kind: str, least: str, most: str) -> None:
    assert found(**{kind: least}) == found(**{kind: most}) == []

    for outside in ("", f"{most} "):
        ((field, sentence),) = found(**{kind: outside})
        assert field == f"structured_output.{kind}"
        assert sentence == f"must have 1 to {len(most.encode())} bytes, got {len(outside.encode())}"


def test_a_choice_is_of_different_texts() -> None:
    def of(*options: str) -> list[tuple[str, str]]:
        return found(choice=pb.Choice(options=options))

    assert of("a") == of(*map(str, range(256))) == of("x" * 1024) == []
    assert of() == [("structured_output.choice.options", "must be 1 to 256 texts, got 0")]
    assert of(*map(str, range(257))) == [("structured_output.choice.options", "must be 1 to 256 texts, got 257")]
    assert of("a", "b", "a", "") == [
        ("structured_output.choice.options[2]", "must differ from the others, is that of [0]"),
        ("structured_output.choice.options[3]", "must have 1 to 1024 bytes, got 0"),
    ]
    assert of("x" * 1025)[0][1] == "must have 1 to 1024 bytes, got 1025"


@pytest.mark.parametrize(
    ("regex", "repetitions"),
    [
        ("(.{0,1000}){1000}", 10**6),
        ("((a{2}b{7}){3}|c{90}){500}", 45_000),
        ("(?:a{100,}){101}", 10_100),
        ("a{10001}", 10_001),
        ("((a{101})*){100}", 10_100),
        ("(" * 100 + "a" + "){2}" * 100, None),
    ],
)
def test_counted_repetitions_are_multiplied(regex: str, repetitions: int | None) -> None:
    ((_, sentence),) = found(regex=regex)

    got = "10^9 or more" if repetitions is None else repetitions
    assert sentence == f"must have counted repetitions that multiply to at most 10000, got {got}"


@pytest.mark.parametrize(
    "regex",
    [
        "(a{100}){100}",
        "a{100}b{101}",
        r"a{100}\{101}",
        "(a{100}[){101}])",
        r"\u{99999}",
        "(a+)+b",
        "(((",
        ")))",
        "\\",
        "a{0}{9999}",
        "(a{5000})(?:b){3}",
    ],
)
def test_what_repeats_less_or_not_at_all_is_left_to_the_compiler(regex: str) -> None:
    assert found(regex=regex) == []


@given(st.text(alphabet="ab(){}[],0129\\u*?|^", max_size=60))
def test_any_regex_is_judged(regex: str) -> None:
    assert all(field == "structured_output.regex" for field, _ in found(regex=regex))


def test_a_regex_has_no_nul() -> None:
    assert found(regex="a\0") == [("structured_output.regex", "must not contain NUL")]


@pytest.mark.parametrize("grammar", [" \n", "start: 'a'"])
def test_a_grammar_is_ebnf(grammar: str) -> None:
    assert "must be EBNF" in found(grammar=grammar)[0][1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "must be JSON: Expecting property name enclosed in double quotes at character 1"),
        ("nope", "must be JSON: Expecting value at character 0"),
        ("[]", "must be a JSON object"),
        ("true", "must be a JSON object"),
        ('{"a":{"b":1,"c":2,"b":3}}', "must be JSON: an object has 'b' twice"),
        ('{"minimum":NaN}', "must be JSON: NaN is not a number of JSON"),
        ('{"minimum":-Infinity}', "must be JSON: -Infinity is not a number of JSON"),
        ('{"minimum":' + "9" * 5000 + "}", "must be JSON with numbers of usual size"),
        ("[" * 60_000, "must be nested at most 32 deep"),
        ('{"a":' * 12_000, "must be nested at most 32 deep"),
    ],
)
def test_a_schema_is_json(text: str, sentence: str) -> None:
    assert wrong(text) == sentence


def test_a_schema_is_nested_at_most_32_deep() -> None:
    assert wrong(nested(32)) == ""
    assert wrong(nested(33)) == "must be nested at most 32 deep"


def test_properties_are_counted_in_all() -> None:
    def properties(count: int) -> dict[str, Any]:
        return {"properties": {f"p{index}": {} for index in range(count)}}

    inner = {"items": {"patternProperties": {"^a": {}}, "anyOf": [properties(499)]}}
    assert wrong(properties(500) | inner) == ""
    assert wrong(properties(501) | inner) == "must have at most 1000 properties in all, got 1001"


@pytest.mark.parametrize("reference", ["http://127.0.0.1/x", "file:///etc/passwd", "other.json#/a", "/a", ""])
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_references_stay_within_the_schema(reference: str, keyword: str) -> None:
    schema = {"$defs": {"enum": {keyword: reference}}}

    assert wrong(schema) == f'has a {keyword} to {reference!r}; only those within the schema ("#...") are followed'
    assert wrong({"$ref": "#"}) == wrong({"$ref": "#/$defs/a", "$schema": "http://json-schema.org/"}) == ""


def test_patterns_in_a_schema_have_the_limits_of_a_regex() -> None:
    assert wrong({"pattern": "(a{200}){200}"}).startswith("has a pattern '(a{200}){200}' that must have counted")
    assert "that must have 1 to 1024 bytes, got 1025" in wrong({"patternProperties": {"a" * 1025: {}}})
    assert wrong({"pattern": ""}) == ""


def test_names_and_data_are_no_keywords() -> None:
    reference = {"$ref": "http://a/"}

    assert wrong({"properties": {"$ref": {"type": "string"}, "pattern": {}, "properties": {}}}) == ""
    assert wrong({"enum": [reference], "const": reference, "default": reference, "examples": [reference]}) == ""
    assert wrong({"properties": {"enum": reference}}) != ""


def test_what_is_shown_of_a_schema_is_short() -> None:
    assert len(wrong({"$ref": "http://" + "x" * 60_000})) < 200


def test_the_schemas_of_a_structural_tag_have_the_limits_too() -> None:
    def tag(schema: Any) -> list[tuple[str, str]]:
        form = {"type": "json_schema", "json_schema": schema}
        return found(structural_tag=json.dumps({"type": "structural_tag", "format": form}))

    assert tag(nested(32)) == []
    assert tag(nested(47))[0] == ("structured_output.structural_tag", "must be nested at most 48 deep")
    assert "has a $ref to 'http://a/'" in tag({"$ref": "http://a/"})[0][1]
    assert found(structural_tag="[]")[0][1] == "must be a JSON object"
    assert "older form" in found(structural_tag='{"structures": [], "triggers": []}')[0][1]
