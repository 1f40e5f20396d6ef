"""Where settings come from, and what wrong ones say."""

from pathlib import Path

import pytest

from penstock_service.configuration import ConfigurationError
from penstock_service.engine.vllm.arguments import command_line
from penstock_service.settings import settings_from


def test_a_flag_is_stronger_than_the_environment_and_that_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text("grpc_port = 1\nhealth_port = 2\nmetrics_port = 3\n[simulated]\nstep_time_ms = 9\n")
    monkeypatch.setenv("PENSTOCK_CONFIG", str(file))
    monkeypatch.setenv("PENSTOCK_HEALTH_PORT", "20")
    monkeypatch.setenv("PENSTOCK_GRPC_PORT", "10")

    settings = settings_from(["--grpc-port", "100", "--simulated.load-seconds", "4"])

    assert (settings.grpc_port, settings.health_port, settings.metrics_port) == (100, 20, 3)
    assert (settings.simulated.step_time_ms, settings.simulated.load_seconds) == (9, 4)


def test_what_follows_the_dashes_goes_to_vllm_verbatim_and_last() -> None:
    settings = settings_from(["--model", "acme/writer", "--", "--max-model-len", "1024", "--model-impl=auto"])

    words = command_line(settings)

    assert words == [
        *("--model", "acme/writer", "--served-model-name", "acme/writer"),
        *("--max-model-len", "1024", "--model-impl=auto"),
    ]


def test_the_built_in_models_defaults_yield_to_the_operators_words() -> None:
    words = command_line(settings_from(["--", "--max-model-len=512"]))

    assert "--enforce-eager" in words
    assert words[-1] == "--max-model-len=512"
    assert "--max-model-len" not in words


def test_vllms_arguments_can_come_from_the_environment_as_a_shell_would_read_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PENSTOCK_ENGINE_ARGS", "--max-model-len 64 --hf-overrides '{\"a\": 1}'")

    assert settings_from([]).engine_args == ("--max-model-len", "64", "--hf-overrides", '{"a": 1}')


def test_a_directorys_model_is_served_by_its_last_part(tmp_path: Path) -> None:
    (tmp_path / "writer").mkdir()

    assert settings_from(["--model", f"{tmp_path}/writer/"]).model_name == "writer"
    assert settings_from(["--model", "acme/writer"]).model_name == "acme/writer"
    assert settings_from(["--model", "acme/writer", "--served-model-name", "w"]).model_name == "w"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--drain-seconds", "nan"], "drain_seconds: input should be a finite number, got 'nan'"),
        (["--drain-seconds", "-1"], "drain_seconds: input should be greater than or equal to 0, got '-1'"),
        (["--max-message-bytes", "1"], "max_message_bytes: input should be greater than or equal to 1024, got '1'"),
        (["--grace-seconds", "-1"], "grace_seconds: input should be greater than or equal to 0, got '-1'"),
        (["--simulated.step-time-ms", "0"], "simulated.step_time_ms: input should be greater than 0, got '0'"),
        (["--model", ""], "model: string should have at least 1 character, got ''"),
    ],
)
def test_a_wrong_value_is_a_sentence_with_field_limit_and_value(arguments: list[str], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings_from(arguments)

    assert str(raised.value) == sentence


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings_from([]).grpc_port = 1  # type: ignore[misc]


@pytest.mark.parametrize("given", ["", ", ", ","])
def test_keys_that_are_given_and_none_stop_the_start(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("PENSTOCK_API_KEYS", given)

    with pytest.raises(ConfigurationError, match=r"api_keys: has no TENANT:SHA256 in it.*leave it out"):
        settings_from([])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('api_key = "psk_canary"', "api_key: extra inputs are not permitted"),
        ('[admin]\nkeys = ["psk_canary"]', "admin: extra inputs are not permitted"),
        ('[simulated]\nnote = "psk_canary"', "simulated.note: extra inputs are not permitted"),
        ('[tls_key]\nkey = "psk_canary"', "tls_key: input is not a valid path for <class 'pathlib.Path'>"),
        ('tls_key = "/psk_canary"', "tls_key: path does not point to a file"),
        ('grpc_port = ["psk_canary"]', "grpc_port: input should be a valid integer"),
    ],
)
def test_what_may_be_a_secret_is_not_repeated(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text(text)

    with pytest.raises(ConfigurationError) as raised:
        settings_from(["--config", str(file)])

    assert str(raised.value) == sentence
