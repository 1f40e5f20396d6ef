"""vLLM's own front end, to hold our replies against."""

from typing import Any

import pytest

from tests.conftest import Running


@pytest.fixture
def llm(real: Running) -> Any:
    """The AsyncLLM behind the real service."""
    return real.engine._llm  # the one way to hold our replies against vLLM's own on the same engine
