"""Answers that are JSON documents: `client.json`, but for the call itself. Pure."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from penstock import arguments
from penstock.arguments import ArgumentValueError
from penstock.json_answers.documents import Parsed
from penstock.json_answers.repairs import read_json, repair_library, with_schemas_keys
from penstock.json_answers.schemas import Schema, read_schema
from penstock.reply import Reply
from penstock.requests import generate_request

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from penstock.generate_options import GenerateOptions
    from penstock.v1.generation_pb2 import GenerateRequest

_CUT_OFF = ("length", "context_length", "deadline")
_FORMS = ("json_schema", "json_object", "regex", "choice", "grammar", "structural_tag")


class JsonAnswer:
    """A document that a model wrote.

    value: the document: dict, list and so on, or an instance of the pydantic model.
    repaired: whether it was wrong JSON, or had keys in the wrong case, and was mended.
    raw: the text as the model wrote it.
    reply: the whole answer.
    """

    __slots__ = ("repaired", "reply", "value")

    def __init__(self, value: Any, repaired: bool, reply: Reply) -> None:
        self.value = value
        self.repaired = repaired
        self.reply = reply

    @property
    def raw(self) -> str:
        return self.reply.text

    def __repr__(self) -> str:
        return f"JsonAnswer(value={self.value!r}, repaired={self.repaired})"


class InvalidJSONError(ValueError):
    """The answer is not the JSON document that was asked for.

    problem: what is wrong with it. raw: the text as the model wrote it. reply: the whole answer.
    """

    def __init__(self, problem: str, reply: Reply) -> None:
        super().__init__(problem)
        self.problem = problem
        self.reply = reply

    @property
    def raw(self) -> str:
        return self.reply.text

    def __reduce__(self) -> tuple[type[InvalidJSONError], tuple[str, Reply]]:
        return type(self), (self.problem, self.reply)


class JsonQuestion:
    """What the caller asks for: the request, and how its answer is read.

    Raises TypeError, ValueError, or ImportError if an extra is missing that the answer may need.
    """

    def __init__(
        self,
        prompt: str | None,
        schema: object,
        constrain: bool,
        repair: bool,
        **options: Unpack[GenerateOptions],
    ) -> None:
        self._repair = arguments.flag("repair", repair)
        constrain = arguments.flag("constrain", constrain)
        self._schema = read_schema(schema, checked=repair or not constrain)
        if repair:
            repair_library()
        self.request = _request(prompt, self._schema, constrain, **options)

    def read(self, reply: Reply) -> JsonAnswer:
        """The document in the reply. Raises InvalidJSONError."""
        if reply.finish_reason in _CUT_OFF:
            tokens = reply.usage.completion_tokens
            raise InvalidJSONError(f"the answer was cut off at {tokens} tokens ({reply.finish_reason})", reply)
        try:
            value, repaired = self._read(reply.text)
        except (ValueError, RecursionError) as error:
            raise InvalidJSONError(f"the answer is not the JSON that was asked for: {error}", reply) from error
        return JsonAnswer(value, repaired, reply)

    def _read(self, text: str) -> tuple[Any, bool]:
        """The first document that the schema permits; without one the likeliest, whatever becomes of it."""
        first, *others = read_json(text, self._repair)
        try:
            return self._checked(first)
        except ValueError:
            for other in others if self._schema.schema is not None else ():
                with contextlib.suppress(ValueError):
                    return self._checked(other)
            raise

    def _checked(self, read: Parsed | ValueError) -> tuple[Any, bool]:
        if isinstance(read, ValueError):
            raise read
        try:
            return self._schema.validate(read.value), read.repaired
        except ValueError:
            if not self._repair or self._schema.schema is None:
                raise
            mended = with_schemas_keys(read.value, self._schema.schema)
            if mended == read.value:
                raise
        return self._schema.validate(mended), True


def _request(
    prompt: str | None, schema: Schema, constrain: bool, **options: Unpack[GenerateOptions]
) -> GenerateRequest:
    for name in _FORMS:
        if options.get(name) is not None:
            raise ArgumentValueError(name, "cannot go with json(): `schema` says the form")
    if constrain and schema.schema is None:
        options = {**options, "json_object": True}
    elif constrain and schema.schema is not None:
        options = {**options, "json_schema": schema.schema}
    return generate_request(prompt, **options)
