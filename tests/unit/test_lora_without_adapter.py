"""Rows without an adapter stay as they are in vLLM's CPU kernels for LoRA."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("vllm")


@pytest.mark.parametrize("times", [1, 2])
def test_a_row_without_an_adapter_gets_nothing_of_the_last_one(times: int) -> None:
    from vllm.lora.punica_wrapper import punica_cpu

    from penstock_service.engine.vllm.lora_without_adapter import register

    for _ in range(times):
        register()
    adapters = torch.ones(2, 1, 4, 8)
    reduced = torch.full((3, 4), 7.0)

    punica_cpu.bgmv_shrink(torch.ones(3, 8), adapters, reduced, torch.tensor([0, -1, 1]), 0.5)

    assert reduced.tolist() == [[4.0] * 4, [0.0] * 4, [4.0] * 4]
