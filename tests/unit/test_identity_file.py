"""The identity file: what it may have, and errors that name the place in it and never a key."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from penstock_service.configuration import ConfigurationError
from penstock_service.identity import LOOK_SECONDS, Identity
from penstock_service.identity_file import IdentityFile, read_identity_file, tenants_of_short_form
from penstock_service.settings import Settings
from penstock_service.tenant import Tenant
from penstock_service.watched_files import WatchedFiles
from tests.rpc.identities import sha256

A, B, C = sha256("psk_a"), sha256("psk_b"), sha256("psk_c")

WHOLE = f"""
[[tenants]]
name = "search"
keys = ["{A}", "{B}"]
certificate_names = ["search.internal"]
tokens_per_minute = 100_000
max_concurrent_calls = 32
manages_models = true

[[tenants]]
name = "chat"

[admin]
keys = ["{C}"]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identity.toml"


def test_a_file_says_who_may_call_and_what_they_may_take(path: Path) -> None:
    path.write_text(WHOLE)

    identity = Identity.of(Settings(identity_file=path))

    search = Tenant("search", 100_000, 32, manages_models=True)
    assert [identity.tenant_of_key(key) for key in ("psk_a", "psk_b", "psk_c")] == [search, search, None]
    assert identity.tenant_certified(["x", "search.internal"]) == search
    assert identity.tenant_certified(["search"]) is None
    assert [identity.admin(key) for key in ("psk_a", "psk_c", C)] == [False, True, False]
    assert identity.required
    assert identity.has_admins


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x =", "is not TOML: "),
        ("\xff", "is not TOML: "),
        ("keys = []", "keys: extra inputs are not permitted"),
        ("[[tenants]]", "tenants[0].name: field required"),
        ("[[tenants]]\nname = 'a b'", "tenants[0].name: string should match pattern"),
        (f"[[tenants]]\nname = '{'a' * 65}'", "tenants[0].name: string should match pattern"),
        ("[[tenants]]\nname = 'a'\nkey = 'psk_a'", "tenants[0].key: extra inputs are not permitted"),
        ("[[tenants]]\nname = 'a'\nkeys = ['psk_a']", "tenants[0].keys[0]: must be the SHA-256 of a key"),
        (f"[[tenants]]\nname = 'a'\nkeys = ['{A.upper()}']", "tenants[0].keys[0]: must be the SHA-256 of a key"),
        (
            f"[[tenants]]\nname = 'a'\nkeys = ['{A}', '{B}', '{C}']",
            "tenants[0].keys: tuple should have at most 2 items",
        ),
        ("[[tenants]]\nname = 'a'\ntokens_per_minute = 0", "tenants[0].tokens_per_minute: input should be greater"),
        ("[[tenants]]\nname = 'a'\nmax_concurrent_calls = 'psk_a'", "tenants[0].max_concurrent_calls: input should be"),
        ("[[tenants]]\nname = 'a'\ncertificate_names = ['']", "tenants[0].certificate_names[0]: string should have"),
        ("[[tenants]]\nname = 'a'\n[[tenants]]\nname = 'a'", "there are two tenants of the name 'a'"),
        (
            "[[tenants]]\nname = 'a'\ncertificate_names = ['x']\n[[tenants]]\nname = 'b'\ncertificate_names = ['x']",
            "there are two tenants with the certificate name 'x'",
        ),
        (f"[[tenants]]\nname = 'a'\nkeys = ['{A}']\n[admin]\nkeys = ['{A}']", "there are two places with the key"),
        ("[admin]\nkeys = ['psk_a']", "admin.keys[0]: must be the SHA-256 of a key"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_without_a_key(path: Path, text: str, told: str) -> None:
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(ConfigurationError) as raised:
        read_identity_file(path)

    assert f"identity_file: {path}" in str(raised.value)
    assert told in str(raised.value)
    assert "psk_a" not in str(raised.value)


def test_the_short_form_gives_a_tenant_up_to_two_keys() -> None:
    (first, second) = tenants_of_short_form([f"one:{A}", f"two:{C}", f"one:{B}"])

    assert (first.name, first.keys, second.name, second.keys) == ("one", (A, B), "two", (C,))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("psk_secret", "entry 1 must be TENANT:SHA256"),
        (f"one:{A},one:psk_secret", "entry 2 must be TENANT:SHA256"),
        (f":{A}", "tenants[0].name: string should match pattern"),
        (f"one:{A},two:{A}", "there are two places with the key"),
        (f"one:{A},one:{B},one:{C}", "tenants[0].keys: tuple should have at most 2 items"),
    ],
)
def test_a_wrong_short_form_is_told_without_a_key(given: str, told: str) -> None:
    with pytest.raises(ValueError, match="api_keys") as raised:
        Settings(api_keys=given)

    assert told in str(raised.value.errors()[0]["msg"])  # type: ignore[attr-defined]


def test_a_tenant_of_both_the_file_and_the_environment_is_refused(path: Path) -> None:
    path.write_text(WHOLE)

    with pytest.raises(ConfigurationError, match=r"api_keys and identity_file together: .* of the name 'chat'"):
        Identity.of(Settings(identity_file=path, api_keys=f"chat:{sha256('psk_d')}"))


def test_the_file_is_looked_at_once_a_second_at_most() -> None:
    now, looks = 0.0, 0

    def read() -> IdentityFile:
        nonlocal looks
        looks += 1
        return IdentityFile()

    identity = Identity(read, lambda: now)
    for step in range(100):
        now = step * LOOK_SECONDS / 10
        identity.tenant_of_key("psk_a")

    assert looks == 10


@pytest.mark.parametrize("text", ["", "# nobody yet", "[admin]", "[admin]\nkeys = []", "tenants = []"])
def test_a_file_with_nobody_in_it_stops_the_start_and_says_what_to_do(path: Path, text: str) -> None:
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=r"neither \[\[tenants\]\] nor keys of \[admin\], .*leave .* out"):
        Identity.of(Settings(identity_file=path))


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "x = 1" + "0" * 5000, "\x00"])
def test_a_new_file_that_no_parser_likes_changes_nothing_either(path: Path, text: str) -> None:
    times = iter([0.0, 2 * LOOK_SECONDS])
    path.write_text(WHOLE)
    watched = WatchedFiles("the identity file", [path], lambda: read_identity_file(path))
    identity = Identity(watched.current, lambda: next(times))

    with capture_logs() as lines:
        path.write_text(text)
        assert identity.tenant_of_key("psk_a") is not None

    assert [line["log_level"] for line in lines] == ["error"]


def test_whatever_goes_wrong_at_another_look_stays_out_of_the_call_that_looks(path: Path) -> None:
    path.write_text("first")
    results = iter(["first", "second"])
    watched = WatchedFiles("a file", [path], lambda: next(results) if path.read_text() != "bad" else 1 / 0)

    with capture_logs() as lines:
        path.write_text("bad")
        assert [watched.current() for _ in range(3)] == ["first"] * 3
        path.write_text("better")
        assert watched.current() == "second"

    assert [line["error"] for line in lines if line["log_level"] == "error"] == ["ZeroDivisionError"]
