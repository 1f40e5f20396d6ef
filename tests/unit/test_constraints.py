"""Constraints are compiled where it cannot hurt: with the real xgrammar and the built-in model's tokenizer."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here: `make test` installs it")

from vllm.config import VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.structured_output.backend_xgrammar import validate_xgrammar_grammar
from xgrammar import TokenizerInfo

import penstock_service
from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.vllm import constraints as constraints_module
from penstock_service.engine.vllm.arguments import parse
from penstock_service.engine.vllm.compiler_messages import Answer, Compile, Setup, framed
from penstock_service.engine.vllm.compiler_process import CompilerDiedError, CompilerProcess
from penstock_service.engine.vllm.constraints import Constraints
from penstock_service.engine.vllm.structured_outputs import structured_outputs_params
from penstock_service.errors import InvalidRequest, Overloaded
from tests.conftest import eventually

KILLED = "structured_output.json_schema: takes more than 2 s of CPU or 512 MiB to compile"


@pytest.fixture(scope="module")
def config() -> VllmConfig:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        model = Path(penstock_service.__file__).parent / "builtin"
        return parse(["--model", str(model), "--enforce-eager"]).create_engine_config()


@pytest.fixture
async def constraints(config: VllmConfig) -> AsyncIterator[Constraints]:
    async with Constraints(config, cached_tokenizer_from_config(config.model_config)) as opened:
        yield opened


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds that a compiler was asked for."""
    asked: list[str] = []
    compile_ = CompilerProcess.compile

    async def recorded(self: CompilerProcess, kind: Any, text: str) -> Any:
        asked.append(kind)
        return await compile_(self, kind, text)

    monkeypatch.setattr(CompilerProcess, "compile", recorded)
    return asked


def schema(document: Any) -> pb.StructuredOutput:
    return pb.StructuredOutput(json_schema=json.dumps(document))


def bomb(number: int = 0) -> pb.StructuredOutput:
    """Within all limits, and xgrammar needs a state for each pair of a property and a count: minutes of them."""
    properties = {f"p{number}_{index}": {"type": "string"} for index in range(300)}
    return schema({"type": "object", "properties": properties, "minProperties": 100, "maxProperties": 200})


_OF_OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def of_others() -> None:
    """Engines that other tests left running have compilers too; none of those forks meanwhile."""
    _OF_OTHERS.clear()
    _OF_OTHERS.update(child.pid for child in compilers())


def compilers() -> list[psutil.Process]:
    ours = psutil.Process().children(recursive=True)
    return [
        child
        for child in ours
        if child.pid not in _OF_OTHERS
        and child.status() != psutil.STATUS_ZOMBIE
        and "constraint_compiler" in " ".join(child.cmdline())
    ]


def server() -> psutil.Process:
    """The compiler process itself; what it forks are its children."""
    pids = {child.pid for child in compilers()}
    (only,) = (child for child in compilers() if child.ppid() not in pids)
    return only


async def refusal(constraints: Constraints, constraint: pb.StructuredOutput) -> str:
    with pytest.raises(InvalidRequest) as raised:
        await constraints.check(constraint, "structured_output")
    return str(raised.value)


GOOD = [
    schema({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}),
    pb.StructuredOutput(json_object=pb.JsonObject()),
    pb.StructuredOutput(regex=r"[a-z]{1,10}(é|\d)"),
    pb.StructuredOutput(choice=pb.Choice(options=["yes", 'n"o\\', "vielleicht\n", "日本"])),
    pb.StructuredOutput(grammar='root ::= "a" other*\nother ::= [0-9]'),
    pb.StructuredOutput(
        structural_tag=json.dumps(
            {
                "type": "structural_tag",
                "format": {"type": "tag", "begin": "<a>", "content": {"type": "any_text"}, "end": "</a>"},
            }
        )
    ),
]


@pytest.mark.parametrize("constraint", GOOD, ids=lambda each: each.WhichOneof("constraint"))
async def test_each_kind_is_accepted_and_translated(constraints: Constraints, constraint: pb.StructuredOutput) -> None:
    await constraints.check(constraint, "structured_output")

    given = structured_outputs_params(constraint)
    kind = {"json_schema": "json"}.get(constraint.WhichOneof("constraint"), constraint.WhichOneof("constraint"))
    assert [name for name, value in vars(given).items() if value] == [kind]
    validate_xgrammar_grammar(SamplingParams(structured_outputs=given))


@pytest.mark.parametrize(
    ("constraint", "sentence"),
    [
        (pb.StructuredOutput(regex="(a"), "regex: cannot be compiled: Regex parsing error at position"),
        (pb.StructuredOutput(grammar='root ::= "a'), "grammar: cannot be compiled: EBNF lexer error at line 1"),
        (
            pb.StructuredOutput(grammar="root ::= nope"),
            'grammar: cannot be compiled: EBNF parser error .*"nope" is not',
        ),
        (pb.StructuredOutput(grammar='x ::= "a"'), "grammar: cannot be compiled: .*root"),
        (pb.StructuredOutput(grammar="root ::= " + "(" * 30_000 + '"a"' + ")" * 30_000), "Nest layer exceeded"),
        (pb.StructuredOutput(structural_tag="{}"), "structural_tag: cannot be compiled: Invalid structural tag"),
        (schema({"$ref": "#/$defs/nowhere"}), "json_schema: cannot be compiled: Cannot find field"),
        (schema({"type": "nope"}), "json_schema: cannot be compiled: Unsupported type"),
        (schema({"type": "integer", "multipleOf": 3}), "json_schema: has features that xgrammar does not support"),
        (schema({"type": "string", "format": {}}), "json_schema: has features that xgrammar does not support"),
        # Not even compiled: nothing fetches what a reference names.
        (schema({"$ref": "http://127.0.0.1:9/"}), r"json_schema: has a \$ref to 'http://127.0.0.1:9/'"),
        (pb.StructuredOutput(regex="(.{0,1000}){1000}"), "regex: must have counted repetitions"),
        (pb.StructuredOutput(), "structured_output: has no constraint"),
    ],
)
async def test_what_is_refused_is_told_in_a_sentence_without_internals(
    constraints: Constraints, constraint: pb.StructuredOutput, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as raised:
        await constraints.check(constraint, "structured_output")

    (violation,) = raised.value.violations
    assert len(violation.description) <= 200
    assert "/project" not in violation.description
    assert "\n" not in violation.description


@pytest.mark.parametrize(
    "constraint",
    [
        pb.StructuredOutput(regex="(a+)+b"),
        pb.StructuredOutput(grammar='root ::= root "a" | "b"'),
        schema({"$ref": "#"}),
        schema({"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}),
    ],
)
async def test_what_explodes_elsewhere_and_not_in_xgrammar_is_accepted(
    constraints: Constraints, constraint: pb.StructuredOutput
) -> None:
    await constraints.check(constraint, "structured_output")


async def test_what_vllm_makes_of_a_request_is_limited_by_its_compilation_only(constraints: Constraints) -> None:
    document: Any = {"type": "string"}
    for _ in range(40):
        document = {"items": document}

    await constraints.check_made(schema(document), "tools")

    with pytest.raises(InvalidRequest, match=r"^tools: takes more than 2 s"):
        await constraints.check_made(bomb(), "tools")


async def test_a_bomb_is_refused_and_the_next_one_is_answered(constraints: Constraints) -> None:
    async with asyncio.timeout(60):
        assert await refusal(constraints, bomb()) == KILLED
        await constraints.check(GOOD[0], "structured_output")


async def test_a_bomb_does_not_hold_up_the_others(constraints: Constraints) -> None:
    await constraints.check(GOOD[0], "structured_output")
    exploding = asyncio.create_task(refusal(constraints, bomb()))
    await eventually(lambda: len(compilers()) == 2, "the compilation")

    for good in GOOD[1:]:
        await constraints.check(good, "structured_output")

    assert not exploding.done()
    assert await exploding == KILLED


async def test_what_is_known_is_not_compiled_again(constraints: Constraints, compiled: list[str]) -> None:
    for _ in range(3):
        await constraints.check(GOOD[0], "structured_output")
        assert "cannot be compiled" in await refusal(constraints, pb.StructuredOutput(regex="(a"))

    assert compiled == ["json_schema", "regex"]


async def test_what_is_known_is_bounded(
    constraints: Constraints, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constraints_module, "_MOST_KNOWN", 2)
    for regex in "abcca":
        await constraints.check(pb.StructuredOutput(regex=regex), "structured_output")

    assert len(compiled) == 4  # c was known; a was no more


async def test_constraints_that_come_together_are_all_answered(constraints: Constraints, compiled: list[str]) -> None:
    different = [pb.StructuredOutput(regex=f"a{{{count}}}") for count in range(1, 9)]

    await asyncio.gather(*(constraints.check(each, "structured_output") for each in different * 4))

    assert set(compiled) == {"regex"}
    assert 8 <= len(compiled) <= 9  # the first two can be the same one
    assert len(compilers()) == 1


async def test_few_compile_at_once_and_a_caller_that_leaves_takes_its_compilation_along(
    constraints: Constraints, compiled: list[str]
) -> None:
    await constraints.check(GOOD[0], "structured_output")
    leaving = [asyncio.create_task(constraints.check(bomb(number), "structured_output")) for number in range(6)]
    await eventually(lambda: len(compilers()) == 3, "two compilations")
    assert len(compiled) == 3

    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)

    async with asyncio.timeout(1.5):  # by themselves they would take two seconds of CPU
        await eventually(lambda: len(compilers()) == 1, "the end of the compilations")
    await constraints.check(GOOD[2], "structured_output")


async def test_a_machine_that_is_too_busy_is_not_the_callers_fault(
    constraints: Constraints, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: object) -> Answer:
        return Answer(id=1, outcome="late", reason="")

    with monkeypatch.context() as busy:
        busy.setattr(CompilerProcess, "compile", late)
        with pytest.raises(Overloaded):
            await constraints.check(GOOD[0], "structured_output")

    await constraints.check(GOOD[0], "structured_output")


async def test_a_killed_compiler_is_replaced(constraints: Constraints) -> None:
    await constraints.check(GOOD[0], "structured_output")
    first = server()
    first.kill()

    await constraints.check(GOOD[2], "structured_output")

    assert server().pid != first.pid


async def test_what_a_killed_compiler_worked_at_is_done_again(constraints: Constraints) -> None:
    await constraints.check(GOOD[0], "structured_output")
    exploding = asyncio.create_task(refusal(constraints, bomb()))
    await eventually(lambda: len(compilers()) == 2, "the compilation")

    server().kill()

    assert await exploding == KILLED


async def test_interrupts_of_the_terminal_do_not_reach_the_compiler(constraints: Constraints) -> None:
    await constraints.check(GOOD[0], "structured_output")

    assert os.getpgid(server().pid) != os.getpgid(0)
    assert os.getsid(server().pid) != os.getsid(0)


async def test_the_compiler_has_neither_our_secrets_nor_our_files(
    config: VllmConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with listening, Constraints(config, cached_tokenizer_from_config(config.model_config)) as constraints:
        await constraints.check(GOOD[0], "structured_output")

        assert "HF_TOKEN" not in server().environ()
        assert server().net_connections("inet") == []
        assert server().num_threads() == 1


async def test_nothing_runs_after_close(config: VllmConfig) -> None:
    async with Constraints(config, cached_tokenizer_from_config(config.model_config)) as constraints:
        await constraints.check(GOOD[0], "structured_output")
        exploding = asyncio.create_task(constraints.check(bomb(), "structured_output"))
        await eventually(lambda: len(compilers()) == 2, "the compilation")
        processes = compilers()

    assert not any(process.is_running() for process in processes)
    with pytest.raises(CompilerDiedError):
        await exploding
    with pytest.raises(CompilerDiedError):
        await constraints.check(GOOD[2], "structured_output")


async def test_a_compiler_that_was_warmed_is_ready_and_one_never_used_is_never_started(config: VllmConfig) -> None:
    async with Constraints(config, cached_tokenizer_from_config(config.model_config)) as constraints:
        await constraints.check(GOOD[1], "structured_output")
        assert compilers() == []

        constraints.warm()
        await eventually(lambda: len(compilers()) == 1, "the compiler")

    assert compilers() == []


async def test_a_compiler_that_cannot_start_is_an_error_of_ours(
    constraints: Constraints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(CompilerDiedError):
        await constraints.check(GOOD[0], "structured_output")

    monkeypatch.undo()
    await constraints.check(GOOD[0], "structured_output")


async def test_a_compiler_that_does_not_end_by_itself_is_killed(
    constraints: Constraints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock_service.engine.vllm.compiler_process._END_SECONDS", 0.1)
    await constraints.check(GOOD[0], "structured_output")
    compiler = server()
    compiler.send_signal(signal.SIGSTOP)

    await constraints.close()

    assert not compiler.is_running()


async def test_many_compilations_leave_nothing_open(constraints: Constraints) -> None:
    await constraints.check(GOOD[0], "structured_output")
    before = server().num_fds()

    for count in range(50):
        await constraints.check(pb.StructuredOutput(regex=f"a{{{count}}}"), "structured_output")

    assert server().num_fds() == before
    assert server().children() == []


async def test_an_xgrammar_that_cannot_be_imported_without_torch_is_imported_with_it() -> None:
    program = """
from penstock_service.engine.vllm import constraint_compiler

constraint_compiler._import_lean = lambda: 1 / 0
constraint_compiler.main()
"""
    setup = Setup(tokenizer_info=TokenizerInfo(["a", "b"]).serialize_json(), any_whitespace=True)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe)
    assert process.stdin
    assert process.stdout
    process.stdin.write(framed(setup))
    await process.stdout.readexactly(len(framed(Answer(id=0, outcome="accepted", reason=""))))
    process.stdin.write(framed(Compile(id=1, kind="regex", text="a")))

    answer = framed(Answer(id=1, outcome="accepted", reason=""))
    assert await process.stdout.readexactly(len(answer)) == answer
    process.stdin.close()
    assert await process.wait() == 0


def test_other_libraries_are_not_judged(config: VllmConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Constraints.fits(config)

    monkeypatch.setattr(config.structured_outputs_config, "backend", "outlines")

    assert not Constraints.fits(config)
