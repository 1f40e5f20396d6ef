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


@pytest.mark.parametrize("load_format", ["hf", "AUTO"])
def test_so_it_does_under_every_format_that_falls_back_to_pickles(tmp_path: Path, load_format: str) -> None:
    given = arguments(model(tmp_path, "model.safetensors"), load_format)

    forbid_pickles(given, Settings())

    assert given.load_format == "safetensors"


MISTRALS = ["consolidated.safetensors", "consolidated.pt", "model.safetensors", "pytorch_model.bin"]


def read_by_vllm(directory: Path, load_format: str) -> list[str]:
    """The files that vLLM's own loader would read."""
    from vllm.config.load import LoadConfig
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    _, files, *_ = DefaultModelLoader(LoadConfig(load_format=load_format))._prepare_weights(
        str(directory), None, None, fall_back_to_pt=True, allow_patterns_overrides=None
    )
    return [Path(file).name for file in files]


def test_of_mistrals_own_format_vllm_reads_what_it_would_read_by_itself(tmp_path: Path) -> None:
    given = arguments(model(tmp_path, *MISTRALS))

    forbid_pickles(given, Settings())

    assert given.load_format == "mistral"
    assert read_by_vllm(tmp_path, "mistral") == read_by_vllm(tmp_path, "auto") == ["consolidated.safetensors"]


def test_a_model_that_one_of_mistrals_names_in_its_place_is_not_read_from_pickles_either(tmp_path: Path) -> None:
    speculator, verifier = tmp_path / "speculator", tmp_path / "verifier"
    speculator.mkdir()
    verifier.mkdir()
    given = arguments(model(speculator, "consolidated.safetensors"))

    forbid_pickles(given, Settings())

    model(verifier, "pytorch_model.bin", "model.pt")
    with pytest.raises(RuntimeError, match="Cannot find any model weights"):
        read_by_vllm(verifier, given.load_format)


def test_an_operator_who_asks_for_the_other_files_of_such_a_model_gets_them(tmp_path: Path) -> None:
    given = arguments(model(tmp_path, *MISTRALS), "hf")

    forbid_pickles(given, Settings())

    assert given.load_format == "safetensors"
    assert read_by_vllm(tmp_path, "safetensors") == read_by_vllm(tmp_path, "hf")


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
