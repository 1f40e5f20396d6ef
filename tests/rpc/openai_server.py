"""vLLM's own OpenAI server in a process of its own, with the model and the arguments that the service gives vLLM."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import httpx

from penstock_service.engine.vllm.arguments import command_line, prepare_environment
from penstock_service.settings import Settings

START_SECONDS = 500


class OpenAiServer:
    """A running server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=120)

    def ask(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """The response to a request."""
        return self._http.post(path, json=body)

    def events(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """All events of a streamed answer."""
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        with self._http.stream("POST", path, json=asked) as response:
            lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
        assert lines[-1:] == ["[DONE]"], lines
        return [json.loads(line) for line in lines[:-1]]


@contextlib.contextmanager
def openai_server() -> Iterator[OpenAiServer]:
    """Start the server, wait until it answers, and stop it at the end."""
    settings, port = Settings(), _free_port()
    tools = ["--enable-auto-tool-choice", "--tool-call-parser", settings.tool_parser_name]
    tools += ["--exclude-tools-when-tool-choice-none"]  # as TOOL_CHOICE_MODE_NONE has it
    words = [*command_line(settings), *tools, "--host", "127.0.0.1", "--port", str(port)]
    prepare_environment(settings)  # for this process too, whose environment the server inherits
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *words]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))
        try:
            url = f"http://127.0.0.1:{port}"
            if not _answers(f"{url}/health", process):
                log.seek(0)
                raise RuntimeError(f"vLLM's server did not start:\n{log.read()[-4000:]}")
            yield OpenAiServer(url)
        finally:
            process.terminate()
            process.wait(60)


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).is_success:
                return True
        time.sleep(0.5)
    return False


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
