"""Structured logs: one event a line, known fields only, and never a contact value."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

_HIDDEN: Final = "[hidden]"
_CONTACT_SHAPES: Final = re.compile(r"\S*@\S*|\+?\d(?:[\s().-]{0,2}\d){6,}")
_ID_FIELDS: Final = frozenset(
    {"request_id", "timestamp", "event", "level", "path", "error_at", "seq", "took_us", "id"}
)


def hide_contacts(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank whatever looks like an address or a number in a text field.

    Callers log ids and counts; this is the second fence, for texts of exceptions and the like. Fields whose
    name ends in ``_id`` are ids of ours and stay whole.
    """
    for name, value in event.items():
        if isinstance(value, str) and name not in _ID_FIELDS and not name.endswith("_id"):
            event[name] = _CONTACT_SHAPES.sub(_HIDDEN, value)
    return event


def set_up_logs(level: str, style: str) -> None:
    """Send every log line of the process to standard error, as JSON or as text."""
    render: Any = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            hide_contacts,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)


def logger() -> structlog.typing.FilteringBoundLogger:
    """The process's logger; call it with an event name and ids: ``logger().info("lead.captured", …)``."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return log


def where(error: BaseException) -> str:
    """Say where an error rose, without its message, which may quote what a person typed."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    return f"{type(error).__name__} at {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
