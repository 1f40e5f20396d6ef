"""Adapters on disk, as an operator puts them there."""

import json
from pathlib import Path


def write_adapter(root: Path, name: str, version: str, weights: bytes = b"weights", **config: object) -> Path:
    """ROOT/NAME/VERSION with a configuration of rank 4 and these bytes for weights; return it."""
    directory = root / name / version
    directory.mkdir(parents=True)
    (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8, **config}))
    (directory / "adapter_model.safetensors").write_bytes(weights)
    return directory
