"""Names the fields of a part of a request as the request's caller knows them."""

from collections.abc import Iterator
from contextlib import contextmanager

from penstock_service.errors import InvalidRequest


@contextmanager
def within(path: str) -> Iterator[None]:
    """Put `path`, such as "inputs[2]", before each field that an InvalidRequest of the block names."""
    try:
        yield
    except InvalidRequest as error:
        violations = [violation._replace(field=f"{path}.{violation.field}") for violation in error.violations]
        too_long = error.reason == "CONTEXT_LENGTH"
        raise InvalidRequest(violations, "CONTEXT_LENGTH" if too_long else "INVALID_FIELD") from error
