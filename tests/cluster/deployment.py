"""A namespace of a real cluster, with the programs that act on it."""

import json
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.programs import ROOT, run_program

CHART = ROOT / "helm" / "penstock"
SIMULATED = CHART / "ci" / "simulated-values.yaml"
WAIT = ("--wait", "--timeout", "3m")


@dataclass(frozen=True)
class Namespace:
    name: str
    image: str
    helm_program: Path
    kubectl_program: Path

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        ran = run_program(self.kubectl_program, "--namespace", self.name, *arguments, stdin=stdin)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def get(self, kind: str, selector: str = "") -> list[Any]:
        found: list[Any] = json.loads(self.kubectl("get", kind, "--selector", selector, "--output", "json"))["items"]
        return found

    def service_address(self, name: str) -> str:
        service = json.loads(self.kubectl("get", "service", name, "--output", "json"))
        return f"{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    def install(self, release: str, *options: str) -> None:
        self._helm("install", release, CHART, "--values", SIMULATED, *self._image_values(), *options, *WAIT)

    def start_upgrade(self, release: str, *options: str) -> "subprocess.Popen[str]":
        arguments = ["upgrade", release, str(CHART), "--reuse-values", *options, *WAIT, "--namespace", self.name]
        return subprocess.Popen([str(self.helm_program), *arguments], stderr=subprocess.PIPE, text=True)

    def uninstall(self, release: str) -> None:
        self._helm("uninstall", release, *WAIT)

    def _helm(self, *arguments: str | Path) -> None:
        ran = run_program(self.helm_program, *arguments, "--namespace", self.name)
        assert ran.returncode == 0, f"{ran.stderr}\n{self._state()}"

    def _image_values(self) -> list[str]:
        repository, _, tag = self.image.rpartition(":")
        return ["--set-string", f"image.repository={repository},image.tag={tag}"]

    def _state(self) -> str:
        """What a person would look at first after a failed install."""
        logs = run_program(
            self.kubectl_program, "-n", self.name, "logs", "-l", "app.kubernetes.io/name=penstock", "--tail=50"
        )
        described = run_program(self.kubectl_program, "-n", self.name, "get", "pods,events", "--output", "wide")
        return described.stdout + logs.stdout + logs.stderr


def unique_name() -> str:
    return f"penstock-test-{uuid.uuid4().hex[:8]}"
