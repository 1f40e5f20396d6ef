"""What vLLM is started with: its own arguments, verbatim, after ours; and the environment it reads at import."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NoReturn

from penstock_service.configuration import ConfigurationError
from penstock_service.engine.vllm import dangerous_settings
from penstock_service.settings import BUILTIN, Settings

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs

# Set before vLLM is imported, for it reads most of them then. What the operator set is left alone.
_ENVIRONMENT = {
    # Our gRPC servers run already, and a forked child of a process with gRPC threads can hang.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    # vLLM writes to stdout by default; ours stays free.
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    # A service does not report on itself to others unless its operator asks it to.
    "VLLM_NO_USAGE_STATS": "1",
}
# Gloo, over which the parts of an engine find each other, opens ports that ask nobody who they are, and does so on the
# address that the machine's name has: in a container that which others reach. Engines on several machines need that.
_ON_ONE_MACHINE = {"GLOO_SOCKET_IFNAME": "lo"}
_BUILTIN_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    # GiB. vLLM's own default on the CPU takes half of the machine's memory.
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
_BUILTIN_ARGUMENTS = {
    "--max-model-len": ["1024"],
    # Compiling takes longer than the small model's first thousand answers.
    "--enforce-eager": [],
    # Of the parsers that read <think> and </think>, one that takes thinking as off unless the request says otherwise.
    "--reasoning-parser": ["deepseek_v3"],
}


def prepare_environment(settings: Settings) -> None:
    """Give the environment variables that vLLM reads our defaults. Call it before vLLM is imported.

    Raises ConfigurationError for variables that are dangerous.
    """
    dangerous_settings.refuse(dangerous_settings.in_environment(os.environ), settings.allow)
    ours = {
        **_ENVIRONMENT,
        **(_BUILTIN_ENVIRONMENT if settings.model == BUILTIN else {}),
        **({} if dangerous_settings.SEVERAL_MACHINES.intersection(settings.allow) else _ON_ONE_MACHINE),
    }
    for name, value in ours.items():
        os.environ.setdefault(name, value)


def command_line(settings: Settings) -> list[str]:
    """vLLM's command line: the model, our defaults for the built-in one, then the operator's own words, verbatim."""
    builtin = settings.model == BUILTIN
    model = str(files("penstock_service") / "builtin") if builtin else settings.model
    said = {word.split("=")[0] for word in settings.engine_args}
    defaults = _BUILTIN_ARGUMENTS if builtin else {}
    ours = [word for name, value in defaults.items() if name not in said for word in (name, *value)]
    return ["--model", model, "--served-model-name", settings.model_name, *ours, *settings.engine_args]


def engine_arguments(settings: Settings) -> AsyncEngineArgs:
    """vLLM's arguments. Raises ConfigurationError for what vLLM's parser refuses, and for what is dangerous."""
    arguments = parse(command_line(settings), settings.allow)
    dangerous_settings.refuse(dangerous_settings.in_arguments(arguments), settings.allow)
    return arguments


def forbid_pickles(arguments: AsyncEngineArgs, settings: Settings) -> None:
    """Keep vLLM from pickled weights, unless they are allowed. Raises ConfigurationError if the model has no others."""
    from penstock_service.engine.vllm import pickled_weights

    if dangerous_settings.PICKLED_WEIGHTS not in settings.allow:
        dangerous_settings.refuse(pickled_weights.forbid(arguments), settings.allow)


def parse(words: list[str], allowed: Iterable[str] = ()) -> AsyncEngineArgs:
    """vLLM's own parser over `words`. Raises ConfigurationError with its sentence, or ours for code it would run."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigurationError(f"arguments after `--`: {message}")

    parser = AsyncEngineArgs.add_cli_args(Parser(prog="vllm", add_help=False))  # type: ignore[no-untyped-call]
    _judge_before_reading(parser, frozenset(allowed))
    try:
        arguments: AsyncEngineArgs = AsyncEngineArgs.from_cli_args(parser.parse_args(words))
    except ConfigurationError:
        raise
    except Exception as error:  # whatever its parsers let out of what they were given
        told = str(error) if isinstance(error, ValueError | OSError) else repr(error)
        raise ConfigurationError(f"vLLM refuses the model or its arguments: {told}") from error
    return arguments


def _judge_before_reading(parser: ArgumentParser, allowed: frozenset[str]) -> None:
    """Look at --compilation-config, however it is spelled, before vLLM runs what it names."""
    (action,) = (action for action in parser._actions if action.dest == "compilation_config")
    read: Callable[[str], Any] = action.type  # type: ignore[assignment]

    def judged(text: str) -> Any:
        try:
            given = json.loads(text)
        except ValueError as error:
            raise ArgumentTypeError(f"no JSON: {error}") from error
        dangerous_settings.refuse(dangerous_settings.in_compilation_config(given), allowed)
        return read(text)

    action.type = judged
