"""Trains the built-in model: python service/training/train.py --out DIR --seed 7 --steps N."""

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1]))
from training.packing import labels_of, sample_texts, token_batches
from training.tokenizer import BEGIN, CONTEXT_LENGTH, END, END_OF_TEXT, save_tokenizer, train_tokenizer


def print_now(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Recipe:
    seed: int = 7
    steps: int = 5400
    warmup_steps: int = 100
    cooldown_steps: int = 1200
    horizon_steps: int = 6600
    peak_rate: float = 5e-3
    last_rate: float = 5e-5
    vocabulary: int = 2048
    hidden: int = 256
    intermediate: int = 704
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    tokenizer_documents: int = 30_000
    evaluation_batches: int = 48


def architecture(recipe: Recipe, tokenizer: Tokenizer) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        head_dim=recipe.hidden // recipe.heads,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(BEGIN),
        eos_token_id=tokenizer.token_to_id(END_OF_TEXT),
        pad_token_id=tokenizer.token_to_id(END_OF_TEXT),
    )


def rate_at(step: int, recipe: Recipe) -> float:
    """Linear warm-up, a half cosine towards the horizon, and a linear cool-down wherever the run ends."""
    if step < recipe.warmup_steps:
        return recipe.peak_rate * (step + 1) / recipe.warmup_steps
    progress = min(1.0, (step - recipe.warmup_steps) / (recipe.horizon_steps - recipe.warmup_steps))
    rate = recipe.last_rate + (recipe.peak_rate - recipe.last_rate) * 0.5 * (1 + math.cos(math.pi * progress))
    left = recipe.steps - step
    if left >= recipe.cooldown_steps:
        return rate
    return recipe.last_rate + (rate - recipe.last_rate) * left / recipe.cooldown_steps


def optimizers_for(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between layers, which learn faster with it; AdamW for the embedding and the vectors."""
    embedding = model.get_input_embeddings().weight
    matrices = [weight for weight in model.parameters() if weight.dim() > 1 and weight is not embedding]
    vectors = [weight for weight in model.parameters() if weight.dim() <= 1]
    groups = [{"params": [embedding], "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return [
        # With the size of AdamW's updates one rate does for both.
        torch.optim.Muon(matrices, lr=recipe.peak_rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, lr=recipe.peak_rate, betas=(0.9, 0.95)),
    ]


def loss_of(model: LlamaForCausalLM, batch: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    # Weights stay in float32; the products run in bfloat16, which is more than twice as fast and is what gets shipped.
    with torch.autocast("cpu", torch.bfloat16):
        loss: torch.Tensor = model(input_ids=batch, labels=labels).loss
    return loss


def train(recipe: Recipe, report: Callable[[str], None] = print_now) -> tuple[LlamaForCausalLM, Tokenizer]:
    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(sample_texts(recipe.seed, recipe.tokenizer_documents), recipe.vocabulary)
    model = LlamaForCausalLM(architecture(recipe, tokenizer))  # type: ignore[no-untyped-call]
    optimizers = optimizers_for(model, recipe)
    report(f"{model.num_parameters():,} parameters, {tokenizer.get_vocab_size()} tokens in the vocabulary")

    started = time.monotonic()
    for step, batch in enumerate(islice(token_batches(tokenizer, recipe.seed + 1), recipe.steps)):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate_at(step, recipe)
        loss = loss_of(model, batch, labels_of(batch, tokenizer))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if step % 50 == 0 or step + 1 == recipe.steps:
            report(f"step {step:5}  loss {loss.item():.3f}  {time.monotonic() - started:6.0f} s")
    return model, tokenizer


@torch.no_grad()
def loss_on_new_text(model: LlamaForCausalLM, tokenizer: Tokenizer, recipe: Recipe) -> float:
    """Mean loss on text of another seed, with the weights as they are now."""
    batches = islice(token_batches(tokenizer, recipe.seed + 2), recipe.evaluation_batches)
    losses = [loss_of(model, batch, labels_of(batch, tokenizer)).item() for batch in batches]
    return sum(losses) / len(losses)


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, directory: Path) -> None:
    save_tokenizer(tokenizer, directory)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.token_to_id(BEGIN),
        eos_token_id=[tokenizer.token_to_id(END_OF_TEXT), tokenizer.token_to_id(END)],
        pad_token_id=tokenizer.token_to_id(END_OF_TEXT),
        do_sample=True,
        temperature=0.3,
        top_p=0.9,
    )
    model.save_pretrained(directory)
    # safetensors writes for its owner alone; a packaged file is for everybody.
    (directory / "model.safetensors").chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write the model to")
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--threads", type=int, default=2, help="more threads, other rounding, other weights")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    recipe = Recipe(seed=options.seed, steps=options.steps)
    model, tokenizer = train(recipe)
    model.bfloat16()
    print_now(f"loss on new text, with bfloat16 weights: {loss_on_new_text(model, tokenizer, recipe):.3f}")
    save(model, tokenizer, options.out)


if __name__ == "__main__":
    main()
