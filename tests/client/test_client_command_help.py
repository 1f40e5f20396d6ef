"""`penstock` explains itself: its help, the shell's completion, and what to install."""

import asyncio
import sys

import pytest
from typer.testing import CliRunner

from penstock.cli import app
from tests.client.penstock_command import Penstock

HELP = {
    "": ["generate", "chat", "embed", "models", "adapters", "status", "health", "top", "bench", "--install-completion"],
    "generate": ["--schema", "--resume", "--temperature", "0 to 2", "the model's own", "--json", "Seconds that a call"],
    "chat": ["--system", "Ctrl-C stops", "--max-tokens"],
    "embed": ["--dimensions", "as many as the model makes", "the lines of stdin"],
    "models": ["--json", "PENSTOCK_TARGET", "localhost:50051"],
    "adapters load": ["120 seconds", "--api-key"],
    "status": ["Exit status 0 only", "--tls-ca", "the system's"],
    "health": ["Seconds to wait", "the server as a whole"],
    "top": ["Seconds between two looks", "9464", "last 60 seconds"],
    "bench": ["How many calls", "100", "60 seconds", "milliseconds"],
}


@pytest.mark.parametrize("command", HELP)
def test_help_says_units_and_defaults(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})

    assert shown.exit_code == 0
    words = " ".join(shown.output.replace("│", " ").split())
    assert [word for word in HELP[command] if word not in words] == []
    assert "\x1b" not in shown.output


async def test_the_shell_can_complete_commands_and_options() -> None:
    penstock = Penstock()
    penstock.environment |= {
        "_PENSTOCK_COMPLETE": "complete_bash",
        "COMP_CWORD": "2",
        "COMP_WORDS": "penstock bench --c",
    }
    _, options, _ = await penstock()
    penstock.environment |= {"COMP_CWORD": "1", "COMP_WORDS": "penstock ge"}
    _, commands, _ = await penstock()
    del penstock.environment["_PENSTOCK_COMPLETE"]
    penstock.environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    _, script, _ = await penstock("--show-completion", "bash")

    assert commands.split() == ["generate"]
    assert options.split() == ["--calls", "--concurrency"]
    assert "_PENSTOCK_COMPLETE=complete_bash" in script


@pytest.mark.parametrize("missing", ["typer", "rich"])
async def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom penstock.__main__ import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )

    _, err = await process.communicate()

    assert process.returncode == 1
    assert err.decode() == f"penstock: the command line needs {missing}: install penstock[cli]\n"
