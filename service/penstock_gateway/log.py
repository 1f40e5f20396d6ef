"""One JSON object a line on stderr, of our own log and of uvicorn's alike."""

import logging
import sys

import structlog
from structlog.typing import Processor

from penstock_service.logged_errors import exceptions, shortened

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(level: str) -> None:
    """Set up logging for the whole process."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    to_json: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        exceptions(level),
        shortened,
        structlog.processors.JSONRenderer(),
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=to_json))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
