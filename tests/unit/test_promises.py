"""docs/reliability.md says what the runs found, and nothing else."""

import json

import pytest

from tests.faults import measure, promises
from tests.faults.h2.attacks import ATTACKS
from tests.faults.promises import DOCS, PROMISES, markdown, read_results, record


def test_the_page_is_the_rendering_of_the_results() -> None:
    page = (DOCS / "reliability.md").read_text()

    assert page == markdown(read_results()), "make it anew: python -m tests.faults.promises"


def test_every_result_is_of_a_promise_and_of_one_of_its_cases() -> None:
    for promise, cases in read_results().items():
        assert set(cases) <= set(PROMISES[promise].cases)


def test_every_attack_is_a_case() -> None:
    assert PROMISES["victim_goodput"].cases == tuple(ATTACKS)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(promises, "DOCS", tmp_path)
    return tmp_path


def test_none_of_n_says_how_rare_it_may_still_be(elsewhere) -> None:
    record("one_status", n=120_000, result="0 breaks", failures=0, passed=True, seed=1)

    page = (elsewhere / "reliability.md").read_text()
    assert "| 0 breaks (fewer than 1 in 40 000) | 120 000 calls | yes |" in page


def test_of_what_fails_together_the_groups_say_it(elsewhere) -> None:
    record("drain_loses_none", n=3008, result="0 lost", failures=0, trials=(47, "drains"), passed=True)

    assert "| 0 lost (fewer than 1 in 15 drains) | 3 008 streams |" in (elsewhere / "reliability.md").read_text()


def test_a_run_that_does_not_come_to_its_end_keeps_nothing(elsewhere) -> None:
    command = PROMISES["one_status"].command
    record("one_status", n=120_000, result="0 breaks", failures=0, passed=True)
    before = read_results()
    record("tokens_in_order", n=600_000, result="0 wrong", failures=0, passed=True)  # and then it failed

    measure.unfinished(command, before)

    assert measure.broken(command) == ["one_status"]
    assert "| the run did not come to its end | 0 calls | **no** |" in (elsewhere / "reliability.md").read_text()


def test_too_few_keep_no_promise(elsewhere) -> None:
    record("one_status", n=3000, result="0 breaks", failures=0, passed=True, seed=1)

    assert "| 3 000 calls | **N below 100 000** |" in (elsewhere / "reliability.md").read_text()


def test_a_broken_promise_is_shown_as_such_and_a_later_run_replaces_it(elsewhere) -> None:
    record("victim_goodput", case="PING flood", n=100, result="50 %", passed=False)
    record("victim_goodput", case="rapid reset", n=100, result="97 %", passed=True)
    assert "One attacker hurts others little: PING flood | >= 90 %" in (elsewhere / "reliability.md").read_text()
    assert "| 50 % | 100 calls | **no** |" in (elsewhere / "reliability.md").read_text()

    record("victim_goodput", case="PING flood", n=100, result="95 %", passed=True)

    page = (elsewhere / "reliability.md").read_text()
    assert "**no**" not in page
    assert "50 %" not in page


def test_what_was_not_measured_is_shown_as_such_also_a_single_case(elsewhere) -> None:
    record("victim_goodput", case="PING flood", n=100, result="95 %", passed=True)

    page = (elsewhere / "reliability.md").read_text()
    assert "One attacker hurts others little: rapid reset | >= 90 % of a victim's goodput without it | not me" in page
    assert f"{PROMISES['rolling_restart'].says} | 0 failed of 20 000 | not measured |" in page


def test_a_result_says_of_which_commit_it_is(elsewhere, monkeypatch) -> None:
    monkeypatch.setattr(promises, "commit", lambda: "0123456789+")

    record("engine_death", n=50, result="told after 0.1 s", passed=True)

    assert json.loads((elsewhere / "reliability.json").read_text())["engine_death"][""]["commit"] == "0123456789+"
    assert "| 0123456789+ | 1 |" in (elsewhere / "reliability.md").read_text()


def test_a_result_of_no_promise_is_refused(elsewhere) -> None:
    with pytest.raises(KeyError, match="no_such_promise"):
        record("no_such_promise", n=1, result="", passed=True)
    with pytest.raises(KeyError, match="no such attack"):
        record("victim_goodput", case="no such attack", n=1, result="", passed=True)


def test_one_command_measures_all_promises() -> None:
    planned = [command for command, _ in measure.planned(hour=True, only=[])]

    assert sorted(planned) == sorted({promise.command for promise in PROMISES.values()})
    assert all(command.endswith("--record") for command in planned)
