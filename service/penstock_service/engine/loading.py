"""Chooses the engine. vLLM is imported only where it is asked for: it takes seconds and need not be installed."""

import importlib
import importlib.util
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock_service.configuration import ConfigurationError
from penstock_service.daemon_thread import in_daemon_thread
from penstock_service.engine.base import Engine
from penstock_service.engine.link import Link
from penstock_service.engine.simulated import SimulatedEngine
from penstock_service.engine.vllm.arguments import engine_arguments, forbid_pickles, prepare_environment
from penstock_service.engine.vllm.socket_directory import use_private_sockets
from penstock_service.loading_progress import report
from penstock_service.settings import Settings

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs

    from penstock_service.engine.vllm.shared_engine import ConnectedEngine, SharedEngine


async def load_engine(settings: Settings) -> Engine:
    """Load the engine of the settings and return it ready to generate. Raises ConfigurationError for what is wrong."""
    if settings.engine == "simulated":
        return await SimulatedEngine.load(settings)
    module, arguments = await _imported("engine", settings)
    report("starting the engine and loading the weights")
    engine: Engine = await module.VllmEngine.start(arguments, settings)
    return engine


async def make_shared_engine(settings: Settings, directory: Path) -> "SharedEngine":
    """The engine, not started yet, that this process owns and front-end processes use. Raises ConfigurationError."""
    module, arguments = await _imported("shared_engine", settings)
    engine: SharedEngine = module.SharedEngine(arguments, settings.frontends, directory)
    return engine


async def connect_engine(settings: Settings, link: Awaitable[Link]) -> "ConnectedEngine":
    """Prepare, wait for `link` and connect to the engine at its other end. Raises ConfigurationError."""
    module, arguments = await _imported("shared_engine", settings)
    report("waiting for the engine")
    place = await link
    report("connecting to the engine")
    engine: ConnectedEngine = await module.ConnectedEngine.connect(arguments, settings, place)
    return engine


async def _imported(name: str, settings: Settings) -> tuple[Any, "AsyncEngineArgs"]:
    """A module of engine/vllm and vLLM's arguments."""
    prepare_environment(settings)
    use_private_sockets()
    report("importing vLLM")
    try:
        # Off the event loop: the import takes seconds, in which health is answered and a stop must not wait for it.
        module = await in_daemon_thread(lambda: importlib.import_module(f"penstock_service.engine.vllm.{name}"))
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise ConfigurationError("engine: vLLM is not installed; install penstock-service[cpu] or [gpu]") from error
    report("reading the model's configuration")
    arguments = await in_daemon_thread(lambda: engine_arguments(settings))
    await in_daemon_thread(lambda: forbid_pickles(arguments, settings))
    return module, arguments


def check_engine_arguments(settings: Settings) -> None:
    """Raise ConfigurationError for arguments and variables of vLLM's that a start would refuse.

    Without vLLM the arguments cannot be judged; of what lies in the files of the model nothing is judged here.
    """
    if settings.engine == "vllm":
        prepare_environment(settings)
        if importlib.util.find_spec("vllm"):
            engine_arguments(settings)
