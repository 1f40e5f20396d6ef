"""Chooses the engine. vLLM is imported only where it is asked for: it takes seconds and need not be installed."""

import asyncio
import importlib
import importlib.util

from penstock_service.configuration import ConfigurationError
from penstock_service.engine.base import Engine
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.engine.vllm.arguments import command_line, parse, prepare_environment
from penstock_service.settings import Settings


async def load_engine(settings: Settings) -> Engine:
    """Load the engine of the settings and return it ready to generate. Raises ConfigurationError for what is wrong."""
    if settings.engine == "simulated":
        return await SimulatedEngine.load(settings)
    try:
        return await _load_vllm(settings)
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise ConfigurationError("engine: vLLM is not installed; install penstock-service[cpu] or [gpu]") from error


async def _load_vllm(settings: Settings) -> Engine:
    prepare_environment(settings)
    # Off the event loop: the import takes seconds, and health checks are answered meanwhile.
    module = await asyncio.to_thread(importlib.import_module, "penstock_service.engine.vllm.engine")
    arguments = await asyncio.to_thread(parse, command_line(settings))
    engine: Engine = await module.VllmEngine.start(arguments, settings.model_name)
    return engine


def check_engine_arguments(settings: Settings) -> None:
    """Raise ConfigurationError if vLLM's parser refuses its arguments. Without vLLM they cannot be judged."""
    if settings.engine == "vllm" and importlib.util.find_spec("vllm"):
        prepare_environment(settings)
        parse(command_line(settings))
