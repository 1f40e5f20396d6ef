"""What vLLM is started with: its own arguments, verbatim, after ours; and the environment it reads at import."""

from __future__ import annotations

import os
from importlib.resources import files
from typing import TYPE_CHECKING, NoReturn

from penstock_service.configuration import ConfigurationError
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
    """Give the environment variables that vLLM reads our defaults. Call it before vLLM is imported."""
    for name, value in {**_ENVIRONMENT, **(_BUILTIN_ENVIRONMENT if settings.model == BUILTIN else {})}.items():
        os.environ.setdefault(name, value)


def command_line(settings: Settings) -> list[str]:
    """vLLM's command line: the model, our defaults for the built-in one, then the operator's own words, verbatim."""
    builtin = settings.model == BUILTIN
    model = str(files("penstock_service") / "builtin") if builtin else settings.model
    said = {word.split("=")[0] for word in settings.engine_args}
    defaults = _BUILTIN_ARGUMENTS if builtin else {}
    ours = [word for name, value in defaults.items() if name not in said for word in (name, *value)]
    return ["--model", model, "--served-model-name", settings.model_name, *ours, *settings.engine_args]


def parse(words: list[str]) -> AsyncEngineArgs:
    """vLLM's own parser over `words`. Raises ConfigurationError with its sentence."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigurationError(f"arguments after `--`: {message}")

    parser = AsyncEngineArgs.add_cli_args(Parser(prog="vllm", add_help=False))  # type: ignore[no-untyped-call]
    try:
        arguments: AsyncEngineArgs = AsyncEngineArgs.from_cli_args(parser.parse_args(words))
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"vLLM refuses the model or its arguments: {error}") from error
    return arguments
