"""Options that several commands share, each group written once as a dataclass.

typer reads a command's options from its signature: here a parameter whose type is a dataclass stands for the fields of
that class.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

import typer

from penstock.cli.failures import failures_reported


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """`command` as typer should see it, its failures reported.

    An option of a group may be given before the command's name too; the one after the name counts, if there are both.
    """
    own = signature(command, eval_str=True).parameters  # get_type_hints wraps some in Optional on Python 3.10
    groups: dict[str, Any] = {name: each.annotation for name, each in own.items() if is_dataclass(each.annotation)}

    @functools.wraps(command)
    def run(context: typer.Context, **values: Any) -> None:
        for name, group in groups.items():
            options = [field.name for field in fields(group)]
            values[name] = group(**{option: _given(context, option, values.pop(option)) for option in options})
        with failures_reported():
            command(**values)
            sys.stdout.flush()

    parameters = [Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for name, parameter in own.items():
        parameters += _fields(groups[name]) if name in groups else [parameter]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _fields(group: Any) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(group)
    ]


def _given(context: typer.Context, option: str, value: Any) -> Any:
    """What the command line says, the nearest to the command's name first; else `value`, from elsewhere."""
    at: Any = context
    while at is not None:
        source = at.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            return at.params[option]
        at = at.parent
    return value
