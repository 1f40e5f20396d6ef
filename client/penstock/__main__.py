"""`penstock` on the command line: `python -m penstock`, or the script that the extra `cli` needs."""

import sys

NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command line. Says what is missing, and exits with status 1, where the extra `cli` is not installed."""
    try:
        from penstock.cli import app
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in NEEDED:
            raise
        sys.exit(f"penstock: the command line needs {missing}: install penstock[cli]")
    app()


if __name__ == "__main__":
    main()
