"""docs/limits.md is what the code says."""

from pathlib import Path

from penstock_service.limit_document import markdown

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"


def test_the_page_of_limits_is_made_from_the_table() -> None:
    assert PAGE.read_text() == markdown(), "make it anew: python -m penstock_service.limit_document > docs/limits.md"
