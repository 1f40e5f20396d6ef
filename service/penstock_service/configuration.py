"""Reads a settings object from flags, environment and a TOML file, and turns what is wrong into sentences."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

S = TypeVar("S", bound="Configuration")

# What is unknown may be a secret in the wrong place, and what is a table may have one in it.
_WITHOUT_INPUT = ("value_error", "missing", "extra_forbidden")
_SECRET = re.compile("key|secret|password|token(?!s)", re.IGNORECASE)  # tokens are counted here

EXIT_CONFIGURATION = 2  # what argparse, too, exits with on a wrong command line


class Configuration(BaseSettings):
    """Base of the settings of our programs: flags are stronger than the environment, that is stronger than the file."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_parse_none_str="none",
        nested_model_default_partial_update=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


class ConfigurationError(Exception):
    """The settings are wrong; the text says which, in one sentence each."""


class PortTaken(ConfigurationError):
    """A port of the settings cannot be opened."""

    def __init__(self, setting: str, host: str, port: int) -> None:
        super().__init__(f"{setting}: cannot open {host}:{port}")


def load(settings: type[S], argv: Sequence[str], **given: Any) -> S:
    """Read `settings` from the command line `argv`, the environment and the file that `--config` names.

    `given` are values that come from elsewhere on the command line. Raises ConfigurationError; `--help` exits.
    """
    file = _config_file(settings, argv)

    class Sourced(settings):  # type: ignore[valid-type, misc]
        model_config = SettingsConfigDict(toml_file=file)

    try:
        return Sourced(_cli_parse_args=list(argv), **given)
    except ValidationError as error:
        raise ConfigurationError(_sentences(error)) from error
    except (SettingsError, ValueError, OSError) as error:
        raise ConfigurationError(f"{file or 'settings'}: {error}") from error


@contextlib.contextmanager
def exit_if_wrong(program: str) -> Iterator[None]:
    """End the process with the sentence of a ConfigurationError on stderr."""
    try:
        yield
    except ConfigurationError as error:
        sys.stderr.write(f"{program}: {error}\n")
        raise SystemExit(EXIT_CONFIGURATION) from error


def _config_file(settings: type[Configuration], argv: Sequence[str]) -> Path | None:
    name = os.environ.get(f"{settings.model_config['env_prefix']}CONFIG")
    for position, flag in enumerate(argv):
        if flag == "--config":
            name = next(iter(argv[position + 1 :]), "")
        elif flag.startswith("--config="):
            name = flag.removeprefix("--config=")
    if not name:
        return None
    if not Path(name).is_file():
        raise ConfigurationError(f"config: there is no file {name!r}")
    return Path(name)


def _sentences(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'settings'}: {_decapitalised(problem['msg'])}"
        f"{_got(problem)}"
        for problem in error.errors()
    )


def _decapitalised(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _got(problem: Any) -> str:
    if problem["type"] in _WITHOUT_INPUT or isinstance(problem["input"], (dict, list, tuple)):
        return ""
    secret = any(_SECRET.search(str(part)) for part in problem["loc"])
    return "" if secret else f", got {problem['input']!r}"
