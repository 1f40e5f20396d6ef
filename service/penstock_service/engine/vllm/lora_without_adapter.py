"""Keeps adapters away from calls that ask for none, where vLLM's CPU kernels for LoRA do not.

vLLM marks rows without an adapter with the index -1. Its kernels for GPUs skip them; those for the CPU take -1 as
Python does, as the last place among the adapters, so that in a step with several calls the model's own answers are
changed by whatever adapter is loaded there (seen with 0.32.0). Declared as a plugin of vLLM (service/pyproject.toml),
because the kernels run in the engine's own processes.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def register() -> None:
    """Mend the kernels of this process. Loading it again changes nothing; nor does it where they are not used."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    lora_ops: Any = import_module("vllm.lora.ops.torch_ops.lora_ops")
    punica_cpu: Any = import_module("vllm.lora.punica_wrapper.punica_cpu")
    if not getattr(lora_ops.bgmv_shrink, "skips_rows_without_adapter", False):
        mended = skipping_rows_without_adapter(lora_ops.bgmv_shrink)
        # `sgmv_shrink` calls the first by this name, the layers the second.
        lora_ops.bgmv_shrink = punica_cpu.bgmv_shrink = mended


def skipping_rows_without_adapter(shrink: Callable[..., None]) -> Callable[..., None]:
    """The first of a LoRA's two products, zero where there is no adapter; the second adds it to the layer's output."""

    def mended(inputs: Any, weights: Any, output: Any, indices: Any, scaling: float = 1.0) -> None:
        shrink(inputs, weights, output, indices, scaling)
        output.masked_fill_((indices < 0).unsqueeze(-1), 0)

    mended.skips_rows_without_adapter = True  # type: ignore[attr-defined]
    return mended
