"""The command `penstock`, one command a file.

Answers go to stdout as plain text, or with `--json` as one JSON object a line; errors are one sentence on stderr and
exit status 1. Colours and cursor movements are for terminals only.
"""

from __future__ import annotations

import logging
import sys

import typer

from penstock.cli.adapters import adapters
from penstock.cli.bench import bench
from penstock.cli.chat import chat
from penstock.cli.connection import Connection
from penstock.cli.embed import embed
from penstock.cli.generate import generate
from penstock.cli.health import health
from penstock.cli.models import models
from penstock.cli.option_groups import expanded
from penstock.cli.status import status
from penstock.cli.top import top

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Talk to a Penstock text-generation service."
)


@app.callback()
@expanded
def _before_each_command(*, connection: Connection) -> None:
    logging.getLogger("penstock").addHandler(logging.NullHandler())  # what concerns the user is in the error's sentence
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a model may write what this terminal's encoding lacks


app.command()(expanded(generate))
app.command()(expanded(chat))
app.command()(expanded(embed))
app.command()(expanded(models))
app.add_typer(adapters)
app.command()(expanded(status))
app.command()(expanded(health))
app.command()(expanded(top))
app.command()(expanded(bench))
