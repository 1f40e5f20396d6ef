"""Which part of a text each token stands for, found by the tokens' bytes."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_service.engine.vllm.spans import of_bytes, of_offsets


def found(text: str, tokens: Iterable[bytes], added: frozenset[bytes] = frozenset()) -> object:
    listed = list(tokens)
    return of_bytes(text, listed, [token in added for token in listed])


def test_tokens_follow_each_other_through_the_text() -> None:
    assert found("ab cd", [b"ab", b" c", b"d"]) == [(0, 2), (2, 4), (4, 5)]


def test_tokens_that_are_parts_of_a_character_all_stand_for_the_whole_of_it() -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]

    assert found("xé!", [b"x", first, second, b"!"]) == [(0, 1), (1, 2), (1, 2), (2, 3)]
    assert found("éé", [first, second + first, second]) == [(0, 1), (0, 2), (1, 2)]


def test_an_added_token_stands_for_nothing_where_it_stands() -> None:
    assert found("ab", [b"<s>", b"ab", b"</s>"], frozenset({b"<s>", b"</s>"})) == [(0, 0), (0, 2), (2, 2)]


def test_an_added_token_that_the_text_has_stands_for_it() -> None:
    assert found("<s>ab", [b"<s>", b"ab"], frozenset({b"<s>"})) == [(0, 3), (3, 5)]


def test_of_a_text_cut_at_either_end_the_rest_is_found() -> None:
    assert found("abcdef", [b"ab", b"c"]) == [(0, 2), (2, 3)]
    assert found("äbcdef", [b"de", b"f"]) == [(3, 5), (5, 6)]


def test_tokens_of_another_text_are_not_found() -> None:
    assert found("abc", [b"ab", b"d"]) is None
    assert found("abc", [b"abcd"]) is None


@given(st.text(), st.lists(st.integers(1, 4), min_size=1))
def test_any_cut_of_any_text_is_found_and_covers_it(text: str, sizes: list[int]) -> None:
    raw, at, tokens = text.encode(), 0, []
    while at < len(raw):
        size = sizes[len(tokens) % len(sizes)]
        tokens.append(raw[at : at + size])
        at += size

    spans = of_bytes(text, tokens, [False] * len(tokens))

    assert spans is not None
    for token, (start, end) in zip(tokens, spans, strict=True):
        assert token in text[start:end].encode()
    assert "".join(text[i] for i in sorted({i for start, end in spans for i in range(start, end)})) == text


@pytest.mark.parametrize(
    ("offsets", "spans"),
    [
        ([(0, 0), (0, 2), (2, 5)], [(0, 0), (0, 2), (2, 5)]),
        ([(0, 0), (0, 2), (2, 5), (0, 0)], [(0, 0), (0, 2), (2, 5), (5, 5)]),
        ([(0, 1), (0, 1), (1, 2)], [(0, 1), (0, 1), (1, 2)]),
    ],
    ids=["added before", "added around", "parts of a character"],
)
def test_tokens_that_a_tokenizer_added_have_their_place_among_the_others(
    offsets: list[tuple[int, int]], spans: list[tuple[int, int]]
) -> None:
    assert list(of_offsets(offsets)) == spans
