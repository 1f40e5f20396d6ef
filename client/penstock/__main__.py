"""`penstock` on the command line: `python -m penstock`, or the script that the extra `cli` needs."""

import os
import sys

NEEDED = ("typer", "rich", "prometheus_client")


def main() -> None:
    """Run the command line. Says what is missing, and exits with status 1, where the extra `cli` is not installed."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC would log beside the one sentence of an error
    try:
        from penstock.cli import app

        app(prog_name="penstock")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in NEEDED:
            raise
        sys.exit(f"penstock: the command line needs {missing}: install penstock[cli]")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
