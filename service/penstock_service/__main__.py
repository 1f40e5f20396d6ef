"""`penstock-serve`: settings, service, wait for a signal, drain."""

import asyncio
import signal
import sys
from collections.abc import Callable

import structlog
import uvloop

from penstock_service.call_log import configure_log
from penstock_service.configuration import EXIT_CONFIGURATION, ConfigurationError, exit_if_wrong
from penstock_service.engine.loading import check_engine_arguments
from penstock_service.frontends.supervisor import running_front_ends
from penstock_service.service import ServiceFailed, running_service, until
from penstock_service.settings import Settings, settings_from

log = structlog.get_logger()

EXIT_FAILURE = 1


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exit status: 0 after a drain, 1 when the service failed, 2 for wrong settings."""
    with exit_if_wrong("penstock-serve"):
        settings = settings_from(sys.argv[1:])
        if settings.check_config:
            check_engine_arguments(settings)
            sys.stdout.write(settings.model_dump_json(indent=2) + "\n")
            return
    configure_log(settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(_serve(settings)))


async def _serve(settings: Settings) -> int:
    running = running_front_ends if settings.frontends > 1 else running_service
    try:
        async with running(settings) as service:
            await until(_signal(service.hurry), service.failure())
    except ConfigurationError as error:
        sys.stderr.write(f"penstock-serve: {error}\n")
        return EXIT_CONFIGURATION
    except ServiceFailed as error:
        log.error("stopped", error=str(error), exc_info=error.__cause__)
        return EXIT_FAILURE
    log.info("stopped")
    return 0


async def _signal(hurry: Callable[[], None]) -> None:
    """Return at the first SIGTERM or SIGINT. A further one calls `hurry`, so that the drain waits no longer."""
    received = asyncio.Event()

    def handle(number: signal.Signals) -> None:
        log.info("signal", name=number.name)
        if received.is_set():
            hurry()
        received.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    await received.wait()


if __name__ == "__main__":
    main()
