"""vLLM reads no weights that are pickles, whatever a model brings."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here: `make test` installs it")

from penstock_service.configuration import ConfigurationError
from penstock_service.engine.vllm.arguments import forbid_pickles
from penstock_service.settings import Settings


def arguments(model: Path | str, load_format: str = "auto", draft: dict[str, Any] | None = None) -> Any:
    return SimpleNamespace(model=str(model), revision=None, load_format=load_format, speculative_config=draft)


def model(directory: Path, *files: str) -> Path:
    for name in files:
        (directory / name).write_bytes(b"")
    return directory


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.pt"])
def test_a_model_that_has_pickles_alone_is_refused(tmp_path: Path, file: str) -> None:
    with pytest.raises(ConfigurationError, match=f"weights in pickles .{file}.*--allow pickled-weights"):
        forbid_pickles(arguments(model(tmp_path, file)), Settings())


def test_an_operator_can_allow_them(tmp_path: Path) -> None:
    allowed = arguments(model(tmp_path, "pytorch_model.bin"))

    forbid_pickles(allowed, Settings(allow=("pickled-weights",)))

    assert allowed.load_format == "auto"


@pytest.mark.parametrize("files", [["model.safetensors"], ["model.safetensors", "pytorch_model.bin"], []])
def test_of_any_other_model_vllm_reads_safetensors_or_nothing(tmp_path: Path, files: list[str]) -> None:
    given = arguments(model(tmp_path, *files))

    forbid_pickles(given, Settings())

    assert given.load_format == "safetensors"


def test_mistrals_own_format_stays(tmp_path: Path) -> None:
    given = arguments(model(tmp_path, "consolidated.safetensors", "consolidated.pt"))

    forbid_pickles(given, Settings())

    assert given.load_format == "auto"


def test_a_draft_beside_it_needs_a_format_of_its_own(tmp_path: Path) -> None:
    mistral = model(tmp_path, "consolidated.safetensors")

    with pytest.raises(ConfigurationError, match=r"draft_load_config.*--allow pickled-weights"):
        forbid_pickles(arguments(mistral, draft={"model": "draft"}), Settings())

    forbid_pickles(
        arguments(mistral, draft={"model": "draft", "draft_load_config": {"load_format": "safetensors"}}), Settings()
    )
    forbid_pickles(arguments(mistral, draft={"method": "ngram"}), Settings())


def test_a_format_that_the_operator_names_stays(tmp_path: Path) -> None:
    given = arguments(model(tmp_path, "pytorch_model.bin"), "dummy")

    forbid_pickles(given, Settings())

    assert given.load_format == "dummy"
