"""The table of loaded adapters: what names mean, and which calls use what."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from penstock.v1.generation_pb2 import AdapterVersion
from penstock.v1.models_pb2 import Model
from penstock_service.adapters import MOST_ALIASES, AdapterTable, LoadedAdapter
from penstock_service.errors import (
    AdapterInUse,
    AdapterNotFound,
    AdaptersFull,
    InvalidRequest,
    ModelNotFound,
)

MODEL = Model(name="writer", aliases=["default"])


def loaded(name: str = "legal", version: str = "1") -> LoadedAdapter:
    return LoadedAdapter(AdapterVersion(name=name, version=version, digest=f"sha256:{name}"), 8, Timestamp(seconds=9))


@pytest.fixture
def table() -> AdapterTable:
    table = AdapterTable()
    table.add(loaded("legal", "1"))
    table.add(loaded("legal", "2"))
    return table


def test_a_name_means_the_model_an_adapter_or_what_its_alias_means(table: AdapterTable) -> None:
    table.set_alias("prod", "legal@1", MODEL)
    table.set_alias("plain", "writer", MODEL)

    means = {name: table.resolve(name, MODEL) for name in ("", "writer", "default", "plain", "prod", "legal@2")}

    keys = {name: adapter and adapter.key for name, adapter in means.items()}
    assert keys == {
        **dict.fromkeys(("", "writer", "default", "plain")),
        "prod": "legal@1",
        "legal@2": "legal@2",
    }


@pytest.mark.parametrize("name", ["legal", "legal@3", "@", "legal@", "prod", "LEGAL@1", "legal@1 "])
def test_any_other_name_is_not_found(table: AdapterTable, name: str) -> None:
    with pytest.raises(ModelNotFound, match=r"'writer', 'legal@1', 'legal@2'"):
        table.resolve(name, MODEL)


def test_many_adapters_do_not_make_an_errors_text_longer_than_metadata_may_be() -> None:
    table = AdapterTable()
    for number in range(200):
        table.add(loaded("n" * 64, f"{number:0>64}"))

    with pytest.raises(ModelNotFound) as raised:
        table.resolve("x" * 512, MODEL)

    assert len(str(raised.value)) < 4096


def test_setting_an_alias_returns_what_it_meant_and_removing_it_frees_the_name(table: AdapterTable) -> None:
    meant = [table.set_alias("prod", target, MODEL) for target in ("legal@1", "legal@2", "", "", "writer")]

    assert meant == ["", "legal@1", "legal@2", "", ""]


def test_an_alias_of_an_alias_means_what_that_means_now(table: AdapterTable) -> None:
    table.set_alias("prod", "legal@1", MODEL)
    table.set_alias("canary", "prod", MODEL)
    table.set_alias("prod", "legal@2", MODEL)

    adapter = table.resolve("canary", MODEL)

    assert adapter is not None
    assert adapter.key == "legal@1"


@pytest.mark.parametrize("alias", ["writer", "default", "", "a" * 65, "legal@1", "a/b", "a\0", "ä", "prod\n"])
def test_an_alias_is_a_plain_name_and_not_the_models_own(table: AdapterTable, alias: str) -> None:
    for target in ("legal@1", ""):
        with pytest.raises(InvalidRequest) as raised:
            table.set_alias(alias, target, MODEL)
        assert [violation.field for violation in raised.value.violations] == ["alias"]


def test_an_alias_of_what_is_not_there_changes_nothing(table: AdapterTable) -> None:
    table.set_alias("prod", "legal@1", MODEL)

    with pytest.raises(ModelNotFound):
        table.set_alias("prod", "legal@3", MODEL)

    assert table.set_alias("prod", "", MODEL) == "legal@1"


def test_aliases_are_bounded_and_the_last_one_can_still_move(table: AdapterTable) -> None:
    for number in range(MOST_ALIASES):
        table.set_alias(f"alias-{number}", "writer", MODEL)

    with pytest.raises(InvalidRequest, match=str(MOST_ALIASES)):
        table.set_alias("one-more", "writer", MODEL)

    assert table.set_alias("alias-0", "legal@1", MODEL) == "writer"


def test_a_description_is_a_copy_with_adapters_their_calls_and_aliases(table: AdapterTable) -> None:
    table.set_alias("prod", "legal@1", MODEL)

    with table.using("prod", MODEL), table.using("legal@1", MODEL):
        described = table.described(MODEL)

    first, second = described.adapters
    assert (first.name, first.version, first.digest, first.rank) == ("legal", "1", "sha256:legal", 8)
    assert (first.running_calls, second.running_calls, first.load_time.seconds) == (2, 0, 9)
    assert [(alias.name, alias.target) for alias in described.adapter_aliases] == [("prod", "legal@1")]
    assert not MODEL.adapters


def test_a_retired_version_is_not_found_at_once_and_idle_after_its_last_call(table: AdapterTable) -> None:
    first, last = table.using("legal@1", MODEL), table.using("legal@1", MODEL)
    adapter = first.__enter__()
    assert last.__enter__() is adapter is table.retire("legal@1")

    with pytest.raises(ModelNotFound):
        table.resolve("legal@1", MODEL)
    assert first.__exit__(ValueError, ValueError("a call may end by any error"), None) is False
    assert not adapter.idle.is_set()
    last.__exit__(None, None, None)

    assert adapter.idle.is_set()


def test_a_call_keeps_what_it_began_with_when_the_alias_moves(table: AdapterTable) -> None:
    table.set_alias("prod", "legal@1", MODEL)

    with table.using("prod", MODEL) as before:
        table.set_alias("prod", "legal@2", MODEL)
        with table.using("prod", MODEL) as after:
            assert before is not None
            assert after is not None
            assert (before.key, after.key) == ("legal@1", "legal@2")


def test_what_an_alias_means_is_not_retired(table: AdapterTable) -> None:
    table.set_alias("prod", "legal@1", MODEL)

    with pytest.raises(AdapterInUse, match="prod"):
        table.retire("legal@1")

    table.set_alias("prod", "legal@2", MODEL)
    assert table.retire("legal@1").idle.is_set()


def test_a_version_is_retired_once(table: AdapterTable) -> None:
    table.retire("legal@1")

    for key in ("legal@1", "legal@3"):
        with pytest.raises(AdapterNotFound, match=key):
            table.retire(key)


def test_room_is_taken_by_what_is_loaded_comes_or_leaves(table: AdapterTable) -> None:
    leaving = table.retire("legal@1")

    with table.room("legal@3", 3), pytest.raises(AdaptersFull, match="3"):
        with table.room("legal@4", 3):
            pass
    with pytest.raises(AdaptersFull), table.room("legal@3", 2):
        pass

    table.remove(leaving)
    with table.room("legal@3", 2):
        table.add(loaded("legal", "3"))
    with pytest.raises(AdaptersFull), table.room("legal@1", 2):
        pass
