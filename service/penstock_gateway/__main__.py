"""`penstock-gateway`: settings, a port to listen on, serve until a signal."""

import sys

from penstock_gateway import log, server
from penstock_gateway.settings import Settings
from penstock_service.configuration import exit_if_wrong, load


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exit status: 0 after a drain, 2 for wrong settings."""
    with exit_if_wrong("penstock-gateway"):
        settings = load(Settings, sys.argv[1:])
        if settings.check_config:
            sys.stdout.write(settings.model_dump_json(indent=2) + "\n")
            return
        listener = server.listen(settings)
    log.configure(settings.log_level)
    server.run(settings, listener)


if __name__ == "__main__":
    main()
