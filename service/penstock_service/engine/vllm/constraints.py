"""Lets only constraints into the engine that xgrammar has compiled before, within limits, in a process of its own.

vLLM converts a constraint on the event loop and compiles it in the engine's few threads, neither of which can be
stopped: one bad constraint would hold up every stream and every other constraint.
"""

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Any, Self

from vllm.config import VllmConfig
from vllm.v1.structured_output.backend_xgrammar import XgrammarBackend, has_xgrammar_unsupported_json_features
from vllm.v1.structured_output.utils import choice_as_grammar

from penstock.v1 import generation_pb2 as pb
from penstock_service.constraint_limits import violations
from penstock_service.daemon_thread import in_daemon_thread
from penstock_service.engine.vllm.compiler_messages import Answer, Kind, Outcome, Setup
from penstock_service.engine.vllm.compiler_process import CompilerDiedError, CompilerProcess
from penstock_service.engine.vllm.constraint_compiler import CPU_SECONDS, MEMORY_BYTES
from penstock_service.errors import InvalidRequest, Overloaded, Violation

# Each is a core for up to two seconds; the engine needs cores too.
_MOST_AT_ONCE = 2
# An entry is at most 300 bytes: 1.2 MB.
_MOST_KNOWN = 4096

_ACCEPTED = ""
_SENTENCES: dict[Outcome, str] = {
    "accepted": _ACCEPTED,
    "over_limits": f"takes more than {CPU_SECONDS} s of CPU or {MEMORY_BYTES >> 20} MiB to compile",
    "refused": "cannot be compiled",
    "crashed": "cannot be compiled: the compiler fails on it",
}
_UNSUPPORTED = (
    "has features that xgrammar does not support, such as multipleOf, uniqueItems or several schemas in allOf"
)


class Constraints:
    """Judges the constraints of requests to one engine, and remembers what it found. Close it."""

    def __init__(self, config: VllmConfig, tokenizer: Any) -> None:
        """`tokenizer` is the engine's."""
        self._config = config
        self._tokenizer = tokenizer
        self._setup: Setup | None = None
        self._starting: asyncio.Task[CompilerProcess] | None = None
        self._closed = False
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)

    @staticmethod
    def fits(config: VllmConfig) -> bool:
        """Whether the engine compiles with xgrammar; what it does with other libraries is not limited here."""
        return config.structured_outputs_config.backend in ("auto", "xgrammar")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def warm(self) -> None:
        """Start the compiler in the background, so that the first request does not wait for it."""
        if not self._closed:
            self._start()

    async def check(self, constraint: pb.StructuredOutput, field: str) -> None:
        """Return if the engine can take `constraint`, which the request has under `field`.

        Raises InvalidRequest if not; Overloaded if the machine is too busy to tell; RuntimeError, OSError or
        TimeoutError if the compiler does not run.
        """
        await self._check(
            constraint, f"{field}.{constraint.WhichOneof('constraint')}", partial(violations, constraint, field)
        )

    async def check_made(self, constraint: pb.StructuredOutput, field: str) -> None:
        """The same for one that vLLM has made of the checked `field`; the contract does not limit it further."""
        await self._check(constraint, field, tuple)

    async def close(self) -> None:
        """End the compiler; checks that run fail."""
        self._closed = True
        if self._starting is None:
            return
        self._starting.cancel()  # which does nothing to one that has started
        (started,) = await asyncio.gather(self._starting, return_exceptions=True)
        if isinstance(started, CompilerProcess):
            await started.close()

    async def _check(
        self, constraint: pb.StructuredOutput, field: str, violations_: Callable[[], Iterable[Violation]]
    ) -> None:
        if constraint.HasField("json_object"):
            return  # always the same, and harmless
        key = hashlib.blake2b(constraint.SerializeToString(deterministic=True)).digest()
        sentence = self._remembered(key)
        if sentence is None:
            if wrong := list(islice(violations_(), InvalidRequest.MOST_VIOLATIONS + 1)):
                raise InvalidRequest(wrong)
            sentence = _UNSUPPORTED if _unsupported(constraint) else await self._judged(key, constraint)
        if sentence != _ACCEPTED:
            raise InvalidRequest([Violation(field, sentence)])

    async def _judged(self, key: bytes, constraint: pb.StructuredOutput) -> str:
        async with self._slots:
            if (known := self._remembered(key)) is not None:  # from somebody who was before us
                return known
            answer = await self._compiled(*_compilation(constraint))
            if answer["outcome"] == "late":
                raise Overloaded("the machine is too busy to compile the structured output now")
            reason = f": {answer['reason']}" if answer["reason"] else ""
            sentence = self._known[key] = f"{_SENTENCES[answer['outcome']]}{reason}"
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
            return sentence

    def _remembered(self, key: bytes) -> str | None:
        sentence = self._known.get(key)
        if sentence is not None:
            self._known.move_to_end(key)
        return sentence

    async def _compiled(self, kind: Kind, text: str) -> Answer:
        try:
            return await (await self._process()).compile(kind, text)
        except CompilerDiedError:  # once can be chance, such as the kernel's lack of memory
            return await (await self._process()).compile(kind, text)

    async def _process(self) -> CompilerProcess:
        if self._closed:
            raise CompilerDiedError("the constraint compiler is closed")
        return await asyncio.shield(self._start())

    def _start(self) -> asyncio.Task[CompilerProcess]:
        if self._starting is None or _ended(self._starting):
            self._starting = asyncio.create_task(self._started(), name="constraint compiler start")
            self._starting.add_done_callback(_look_at)
        return self._starting

    async def _started(self) -> CompilerProcess:
        if self._setup is None:
            setup: Setup = await in_daemon_thread(partial(_setup, self._config, self._tokenizer))
            self._setup = setup
        return await CompilerProcess.start(self._setup)


def _unsupported(constraint: pb.StructuredOutput) -> bool:
    """Whether vLLM refuses a JSON Schema, or turns to another library, which compiles without our limits."""
    if not constraint.HasField("json_schema"):
        return False
    try:
        return bool(has_xgrammar_unsupported_json_features(json.loads(constraint.json_schema)))
    except TypeError:  # a keyword's value is of a type that nobody expects
        return True


def _compilation(constraint: pb.StructuredOutput) -> tuple[Kind, str]:
    match constraint.WhichOneof("constraint"):
        case "json_schema":
            return "json_schema", constraint.json_schema
        case "regex":
            return "regex", constraint.regex
        case "structural_tag":
            return "structural_tag", constraint.structural_tag
        case "choice":
            return "grammar", choice_as_grammar(list(constraint.choice.options))
    return "grammar", constraint.grammar


def _setup(config: VllmConfig, tokenizer: Any) -> Setup:
    """What vLLM itself would tell xgrammar of the tokenizer. Takes a second for a large vocabulary."""
    size = config.model_config.get_vocab_size()
    backend = XgrammarBackend(config, tokenizer=tokenizer, vocab_size=size)
    compiled = backend.compiler.compile_grammar('root ::= "a"')
    return Setup(
        tokenizer_info=compiled.tokenizer_info.serialize_json(),
        any_whitespace=not config.structured_outputs_config.disable_any_whitespace,
    )


def _ended(starting: asyncio.Task[CompilerProcess]) -> bool:
    if not starting.done():
        return False
    return starting.cancelled() or starting.exception() is not None or not starting.result().alive


def _look_at(starting: asyncio.Task[CompilerProcess]) -> None:
    """Whoever waits hears of an error; without this, asyncio would complain if nobody does."""
    if not starting.cancelled():
        starting.exception()
