"""`penstock-serve`: settings, service, wait for a signal, drain."""

import asyncio
import os
import signal
import sys
from typing import Protocol

import structlog
import uvloop

from penstock_service.call_log import configure_log
from penstock_service.configuration import EXIT_CONFIGURATION, ConfigurationError, exit_if_wrong
from penstock_service.engine.loading import check_engine_arguments
from penstock_service.failures import EXIT_FAILURE, ServiceFailed
from penstock_service.frontends.supervisor import running_front_ends
from penstock_service.logged_errors import log_unhandled, with_messages
from penstock_service.long_conversations import SWITCH_SECONDS
from penstock_service.process_end import end_process
from penstock_service.service import running_service, until
from penstock_service.settings import Settings, settings_from

log = structlog.get_logger()

_OURS = ("PENSTOCK_", "VLLM_")


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exit status: 0 after a drain, 1 when the service failed, 2 for wrong settings."""
    with exit_if_wrong("penstock-serve"):
        settings = settings_from(sys.argv[1:])
        _forget_keys()
        if settings.check_config:
            check_engine_arguments(settings)
            sys.stdout.write(settings.model_dump_json(indent=2) + "\n")
            return
    sys.setswitchinterval(SWITCH_SECONDS)
    configure_log(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(_serve(settings))
    end_process(status)


def _forget_keys() -> None:
    """Take API keys out of the environment, ours and that of vLLM's own server: the engine's processes inherit it."""
    for name in [name for name in os.environ if "API_KEY" in (upper := name.upper()) and upper.startswith(_OURS)]:
        del os.environ[name]


async def _serve(settings: Settings) -> int:
    asyncio.get_running_loop().set_exception_handler(log_unhandled)
    running = running_front_ends if settings.frontends > 1 else running_service
    try:
        async with running(settings) as service:
            _obey_signals(service)
            await until(service.stop_asked(), service.failure())
    except ConfigurationError as error:
        sys.stderr.write(f"penstock-serve: {error}\n")
        return EXIT_CONFIGURATION
    except ServiceFailed as error:
        log.error("stopped", error=str(error), exception=error.__cause__ and with_messages(error.__cause__))
        return EXIT_FAILURE
    log.info("stopped")
    return 0


class _Stoppable(Protocol):
    def begin_drain(self) -> None: ...
    def hurry(self) -> None: ...


def _obey_signals(service: _Stoppable) -> None:
    """Begin to drain at the first SIGTERM or SIGINT, and wait no longer at a further one."""
    received = False

    def handle(number: signal.Signals) -> None:
        nonlocal received
        log.info("signal", name=number.name)
        (service.hurry if received else service.begin_drain)()
        received = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)


if __name__ == "__main__":
    main()
