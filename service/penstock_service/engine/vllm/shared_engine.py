"""One engine for several front-end processes: SharedEngine in the process that owns it, ConnectedEngine in each other.

As vLLM's own server does it for --api-server-count (vllm/entrypoints/cli/serve.py), except that a front end connects
only once the engine is ready: waiting for it, vLLM's client gives up after VLLM_ENGINE_READY_TIMEOUT_S.
"""

import asyncio
import mmap
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import Any

from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.utils import CoreEngineProcManager, EngineZmqAddresses, launch_core_engines
from vllm.v1.executor import Executor

from penstock_service.cache_salts import CacheSalts, new_secret
from penstock_service.configuration import ConfigurationError
from penstock_service.daemon_thread import in_daemon_thread
from penstock_service.engine.link import Link
from penstock_service.engine.vllm import processes
from penstock_service.engine.vllm.engine import SHUTDOWN_SECONDS, Loggers, VllmEngine
from penstock_service.engine.vllm.interrupts import children_ignore_interrupts
from penstock_service.engine.vllm.process_guard import guarded_children
from penstock_service.settings import Settings

# One page for each front end is ample: vLLM gives each a cache line, so that they do not slow each other down.
_QUEUE_FILE_BYTES = mmap.PAGESIZE


class SharedEngine:
    """The processes of an engine that `count` front ends use; `directory` is for the sockets between them."""

    def __init__(self, arguments: AsyncEngineArgs, count: int, directory: Path) -> None:
        self._arguments = arguments
        self._count = count
        self._queue_file = directory / "queue"
        self._queue_file.write_bytes(bytes(count * _QUEUE_FILE_BYTES))
        self._addresses = EngineZmqAddresses(
            inputs=[f"ipc://{directory}/input-{index}" for index in range(count)],
            outputs=[f"ipc://{directory}/output-{index}" for index in range(count)],
        )
        self._cache_secret = new_secret()
        self._engines: CoreEngineProcManager | None = None
        self._coordinator: Any = None
        self._ready = False

    async def start(self, started: Callable[[list[int]], None]) -> None:
        """Start the engine and load the model. `started` hears of its processes as soon as there are any.

        Raises ConfigurationError for what vLLM refuses.
        """
        loop = asyncio.get_running_loop()
        try:
            await in_daemon_thread(
                lambda: self._launch(lambda processes: loop.call_soon_threadsafe(started, processes))
            )
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"vLLM refuses the model or its arguments: {error}") from error
        self._ready = True

    def links(self) -> list[Link]:
        """What each front end needs to connect."""
        stats = self._addresses.frontend_stats_publish_address
        ends = zip(self._addresses.inputs, self._addresses.outputs, strict=True)
        secret, queue = self._cache_secret.hex(), str(self._queue_file)
        return [Link(index, self._count, *end, stats, secret, queue) for index, end in enumerate(ends)]

    async def died(self) -> None:
        """Return when a process of the engine is gone."""
        sentinels = [process.sentinel for process in self._processes()]
        await in_daemon_thread(lambda: connection.wait(sentinels))

    def kill(self) -> None:
        """End it at once, for it hangs; `died` returns."""
        processes.kill([process.pid for process in self._processes()])

    async def close(self) -> None:
        """Stop the engine. One that still loads holds nothing worth waiting for."""
        seconds = SHUTDOWN_SECONDS if self._ready else 0.0
        if self._engines is not None:
            await asyncio.to_thread(self._engines.shutdown, seconds)
        if self._coordinator is not None:
            await asyncio.to_thread(self._coordinator.shutdown, 0.0)  # it would not hear SIGTERM

    def _launch(self, started: Callable[..., object]) -> None:
        config = _configured(self._arguments, self._count, -1)
        _check_local(config)
        log_stats = not self._arguments.disable_log_stats
        # process_guard gives the engines SIGTERM back; the coordinator, which it does not know, is to outlive a drain.
        with children_ignore_interrupts(signal.SIGTERM), guarded_children():
            # Leaving the context waits until the engine is ready, or raises.
            with launch_core_engines(config, Executor.get_class(config), log_stats, self._addresses) as launch:
                self._engines, self._coordinator = _parts(launch)
                started([process.pid for process in self._processes()])

    def _processes(self) -> list[Any]:
        engines = self._engines.processes if self._engines else []
        return [*engines, self._coordinator.proc] if self._coordinator else [*engines]


class ConnectedEngine(VllmEngine):
    """A VllmEngine over an engine that another process owns."""

    @classmethod
    async def connect(cls, arguments: AsyncEngineArgs, settings: Settings, link: Link) -> "ConnectedEngine":
        """Become the client of the engine that `link` names, which is ready. Raises as VllmEngine.start."""
        engine = await cls.start(arguments, settings, partial(_client, link=link))
        engine._prompts.salts = CacheSalts(bytes.fromhex(link.cache_secret))
        return engine

    def kill(self) -> None:
        """See Engine.kill. Its owner has the processes, and is the one to judge them."""
        self.lose()

    def lose(self) -> None:
        """Fail what runs, for the engine is gone: its owner sees that, and its clients do not if it was killed."""
        self._llm.engine_core.shutdown()


def _configured(arguments: AsyncEngineArgs, count: int, index: int) -> VllmConfig:
    arguments._api_process_count, arguments._api_process_rank = count, index
    return arguments.create_engine_config()


def _check_local(config: VllmConfig) -> None:
    parallel, multimodal = config.parallel_config, config.model_config.multimodal_config
    if parallel.data_parallel_backend == "ray" or parallel.data_parallel_size_local != parallel.data_parallel_size:
        raise ConfigurationError("frontends: more than one need all data-parallel engines on this machine, without Ray")
    if multimodal is not None and multimodal.mm_tensor_ipc == "torch_shm":
        raise ConfigurationError("frontends: more than one cannot share tensors by --mm-tensor-ipc torch_shm")


def _parts(launch: Any) -> tuple[CoreEngineProcManager, Any]:
    """The engine's processes and its coordinator, if any; 0.26 yields a tuple."""
    return launch[:2] if isinstance(launch, tuple) else (launch.engine_manager, launch.coordinator)


def _client(arguments: AsyncEngineArgs, loggers: Loggers, link: Link) -> AsyncLLM:
    addresses = {
        "input_address": link.input_address,
        "output_address": link.output_address,
        "stats_update_address": link.stats_address,
        "mp_admission_counters": _counters(link.queue_file),  # for --max-num-queued-reqs, which 0.26 does not have
    }
    return AsyncLLM.from_vllm_config(
        _configured(arguments, link.count, link.index),
        enable_log_requests=arguments.enable_log_requests,
        disable_log_stats=arguments.disable_log_stats,
        stat_loggers=loggers,
        client_addresses=addresses,
        client_count=link.count,
        client_index=link.index,
    )


def _counters(file: str) -> memoryview:
    """The numbers in the file that all front ends have in memory. vLLM writes only its own front end's."""
    with open(file, "r+b") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 0)).cast("q")
