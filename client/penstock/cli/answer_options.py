"""The options of the commands that generate text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

PANEL = "Answer"
MODELS_OWN = "the model's own"


@dataclass(frozen=True)
class AnswerOptions:
    """Which model answers, and how it picks the tokens. The fields are keywords of `generate`."""

    model: Annotated[
        str | None,
        typer.Option(
            help="A model's name, alias or adapter.", show_default="the server's first", rich_help_panel=PANEL
        ),
    ] = None
    max_tokens: Annotated[
        int | None,
        typer.Option(
            help="The most tokens to generate, at least 1.",
            show_default="as many as the context has room for",
            rich_help_panel=PANEL,
        ),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(
            help="0 to 2: how random; 0 takes the likeliest token.", show_default=MODELS_OWN, rich_help_panel=PANEL
        ),
    ] = None
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Above 0 to 1: the share of probability to pick from.",
            show_default=MODELS_OWN,
            rich_help_panel=PANEL,
        ),
    ] = None
    top_k: Annotated[
        int | None,
        typer.Option(
            help="How many likeliest tokens to pick from; 0 is all.", show_default=MODELS_OWN, rich_help_panel=PANEL
        ),
    ] = None
    presence_penalty: Annotated[
        float | None,
        typer.Option(help="-2 to 2: against tokens that came already.", show_default=MODELS_OWN, rich_help_panel=PANEL),
    ] = None
    frequency_penalty: Annotated[
        float | None,
        typer.Option(help="-2 to 2: the same, by how often they came.", show_default=MODELS_OWN, rich_help_panel=PANEL),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed picks the same tokens.", show_default="random", rich_help_panel=PANEL),
    ] = None
    stop: Annotated[
        list[str] | None,
        typer.Option(help="A text that ends the answer; may be repeated.", show_default="none", rich_help_panel=PANEL),
    ] = None
    thinking: Annotated[
        bool | None,
        typer.Option(
            help="Whether a model that can think before it answers does so.",
            show_default=MODELS_OWN,
            rich_help_panel=PANEL,
        ),
    ] = None

    def given(self) -> dict[str, Any]:
        """The keywords that were given."""
        return {name: value for name, value in asdict(self).items() if value not in (None, [], ())}
