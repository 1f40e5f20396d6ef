"""API keys: unguessable, kept as hashes alone, and compared in a time that tells nothing."""

import hashlib
import hmac
import io
import re

import pytest

from penstock_service import api_keys, key_command


def test_new_keys_have_256_random_bits_behind_a_prefix_that_tells_what_they_are() -> None:
    keys = {api_keys.new_key() for _ in range(1000)}

    assert len(keys) == 1000
    assert all(re.fullmatch(r"psk_[A-Za-z0-9_-]{43}", key) for key in keys)


def test_a_key_is_known_by_its_sha256() -> None:
    known = ["0" * 64, hashlib.sha256(b"psk_mine").hexdigest(), "f" * 64]

    assert api_keys.matching("psk_mine", known) == [1]
    assert api_keys.matching("psk_other", known) == []
    assert api_keys.matching(known[1], known) == []


@pytest.mark.parametrize("key", ["psk_0", "psk_1", "psk_2", "psk_none", "", "k" * 10_000])
def test_every_key_is_compared_with_all_hashes_by_the_same_steps(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [hashlib.sha256(f"psk_{number}".encode()).hexdigest() for number in range(3)]
    compared = []

    def compare(own: str, other: str) -> bool:
        compared.append((own, other))
        return real(own, other)

    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    api_keys.matching(key, known)

    assert [other for _, other in compared] == known
    assert {len(own) for own, _ in compared} == {64}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: str = "") -> None:
    monkeypatch.setattr("sys.argv", ["penstock-key", *arguments])
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    key_command.main()


def test_the_command_prints_a_new_key_and_its_hash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch)

    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert printed["sha256"] == hashlib.sha256(printed["key"].encode()).hexdigest()


def test_the_command_hashes_the_key_on_stdin_and_does_not_repeat_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--hash", stdin="psk_mine\n")

    assert capsys.readouterr().out == f"sha256  {hashlib.sha256(b'psk_mine').hexdigest()}\n"


@pytest.mark.parametrize(
    ("arguments", "stdin"), [(("--hash",), "\n"), (("psk_mine",), ""), (("--hash", "psk_mine"), "")]
)
def test_the_command_takes_no_key_as_an_argument_and_no_empty_one(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], stdin: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, *arguments, stdin=stdin)
