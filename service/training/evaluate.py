"""Counts right answers of the built-in model on prompts of another seed: python service/training/evaluate.py.

The answers are the most likely ones, with bfloat16 weights, as the model is shipped.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1]))
from training.conversations import SHORT_EXCHANGES, Message
from training.exchange import Exchange, compose_from
from training.exercises import addition
from training.facts import capital, colour, fact, opposite
from training.tool_conversations import fits, kinds_of
from training.toolbox import Tool, Use, offered, used
from training.unseen_tools import UNSEEN

BUILTIN = Path(__file__).parents[1] / "penstock_service" / "builtin"
CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
THOUGHT = re.compile(r"<think>\n(.+)\n</think>\n\n(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Case:
    messages: list[Message]
    right: Callable[[str], bool]
    tools: list[dict[str, Any]] | None = None
    thinking: bool = False


def user(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def calls_in(text: str) -> list[Any]:
    """The calls in an answer; what is no JSON counts as none."""
    try:
        return [json.loads(call) for call in CALL.findall(text)]
    except ValueError:
        return []


def calls_for(*uses: Use) -> Callable[[str], bool]:
    expected = [{"name": use.tool.name, "arguments": use.arguments} for use in uses]
    return lambda text: calls_in(text) == expected


def toolbox(rng: Random, number: int) -> list[Tool]:
    return [offered(rng, kind) for kind in kinds_of(rng, number)]


def schemas(tools: list[Tool]) -> list[dict[str, Any]]:
    return [tool.schema() for tool in tools]


def one_call(rng: Random) -> Case:
    tools = toolbox(rng, rng.randint(1, 4))
    use = used(rng, rng.choice(tools))
    return Case(user(use.question), calls_for(use), schemas(tools))


def two_calls(rng: Random) -> Case:
    tools = toolbox(rng, 2)
    uses = [used(rng, tool) for tool in tools]
    first, second = (use.question for use in uses)
    asked = f"{first.rstrip('?.')} and {second[:1].lower()}{second[1:]}"
    return Case(user(asked), calls_for(*uses), schemas(tools))


def unseen_tool(rng: Random) -> Case:
    name, description, question, arguments = rng.choice(UNSEEN)
    properties = {key: {"type": "string" if isinstance(value, str) else "number"} for key, value in arguments.items()}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    tool = {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}
    expected = [{"name": name, "arguments": arguments}]
    return Case(user(question), lambda text: calls_in(text) == expected, [tool, *schemas(toolbox(rng, 1))])


def no_call(rng: Random) -> Case:
    tools = toolbox(rng, rng.randint(1, 4))
    exchange = compose_from(SHORT_EXCHANGES, rng)
    while any(fits(tool, exchange) for tool in tools):
        exchange = compose_from(SHORT_EXCHANGES, rng)
    return Case(user(exchange.question), lambda text: "<tool_call>" not in text, schemas(tools))


def missing_tool(rng: Random) -> Case:
    wanted, *others = toolbox(rng, 3)
    return Case(user(used(rng, wanted).question), lambda text: "<tool_call>" not in text, schemas(others))


def answer_from_result(rng: Random) -> Case:
    tools = toolbox(rng, rng.randint(1, 3))
    use = used(rng, rng.choice(tools))
    said = [{"role": "assistant", "tool_calls": [use.call()]}, {"role": "tool", "content": use.result}]
    return Case([*user(use.question), *said], lambda text: text == use.answer, schemas(tools))


def asked(exchange: Exchange, *, thinking: bool = False) -> Case:
    def right(text: str) -> bool:
        thought = THOUGHT.fullmatch(text)
        said = (thought[2] if thought else "") if thinking else text
        return said.startswith(exchange.answer)

    return Case(user(exchange.question), right, thinking=thinking)


def in_one_word(rng: Random) -> Case:
    exchange = colour(rng)
    expected = exchange.word.capitalize() + "."
    manner = {"role": "system", "content": "Answer in one word."}
    return Case([manner, *user(exchange.question)], lambda text: text == expected)


SETS: tuple[tuple[str, int, Callable[[Random], Case]], ...] = (
    ("one call, with the right arguments", 100, one_call),
    ("two calls in one answer", 50, two_calls),
    ("a call of a tool of a kind that it has never seen", 30, unseen_tool),
    ("no call where no tool is needed", 50, no_call),
    ("no call where the right tool is missing", 50, missing_tool),
    ("the answer from a tool's result", 100, answer_from_result),
    ("colours", 30, lambda rng: asked(colour(rng))),
    ("opposites", 30, lambda rng: asked(opposite(rng))),
    ("capitals", 30, lambda rng: asked(capital(rng))),
    ("colours in one word, as the system prompt has it", 20, in_one_word),
    ("sums up to 20 + 20", 40, lambda rng: asked(addition(rng))),
    ("the same sums with a thought first", 40, lambda rng: asked(addition(rng), thinking=True)),
    ("facts with a thought first", 40, lambda rng: asked(fact(rng), thinking=True)),
)


class Answerer:
    """The model in a directory, greedy."""

    def __init__(self, directory: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(directory)
        self.model: Any = LlamaForCausalLM.from_pretrained(directory, dtype=torch.bfloat16)

    @torch.no_grad()
    def answer(self, case: Case) -> str:
        prompt = self.tokenizer.apply_chat_template(
            case.messages,
            tools=case.tools,
            enable_thinking=case.thinking,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        made = self.model.generate(**prompt, max_new_tokens=300, do_sample=False, temperature=None, top_p=None)[0]
        return str(self.tokenizer.decode(made[prompt["input_ids"].shape[1] :], skip_special_tokens=True))


def counted(answerer: Answerer, seed: int) -> Iterator[tuple[str, int, int, list[tuple[Case, str]]]]:
    """For each set: its name, how many answers are right, of how many, and the wrong ones."""
    for name, number, compose in SETS:
        rng = Random(seed)  # noqa: S311 (an evaluation is no secret)
        answers = [(case, answerer.answer(case)) for case in (compose(rng) for _ in range(number))]
        wrong = [(case, text) for case, text in answers if not case.right(text)]
        yield name, number - len(wrong), number, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUILTIN, help="directory of the model")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--wrong", type=int, default=0, metavar="N", help="show up to N wrong answers of each set")
    options = parser.parse_args()
    for name, right, number, wrong in counted(Answerer(options.model), options.seed):
        sys.stdout.write(f"{right:4} of {number:3}  {name}\n")
        for case, text in wrong[: options.wrong]:
            sys.stdout.write(f"        {case.messages[-1]['content']!r} -> {text!r}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
