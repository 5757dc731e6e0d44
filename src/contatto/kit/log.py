"""Structured logs: one event a line, known fields only, and never a contact value."""

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Final, TextIO

import structlog

_HIDDEN: Final = "[hidden]"
_CONTACT_SHAPES: Final = re.compile(r"\S*[@＠]\S*|\+?\d(?:[\s().-]{0,2}\d){6,}")
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the running request, which each log line contains."""
_ID_FIELDS: Final = frozenset({"timestamp", "level", "path", "error_at", "seq", "took_us", "id"})


def hide_contacts(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask everything that looks like an e-mail address or a phone number.

    Callers log ids and counts; this is a second barrier, for texts such as those of exceptions. Fields with
    names in ``_id`` contain own ids and stay as they are.
    """
    for name, value in event.items():
        if name not in _ID_FIELDS and not name.endswith("_id"):
            event[name] = _blanked(value)
    return event


def _name_request(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if request_id := REQUEST_ID.get():
        event.setdefault("request_id", request_id)
    return event


def _blanked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_blanked(name): _blanked(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_blanked(inner) for inner in value]
    text = str(value)
    blanked = _CONTACT_SHAPES.sub(_HIDDEN, text)
    return value if blanked == text and isinstance(value, float | int | None) else blanked


class _BlankingFormatter(logging.Formatter):
    """Formatter that masks lines of other packages, and drops the texts of exceptions."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the name that the base class gives it
        parts: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None:
            parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__)
            error = error.__cause__ or error.__context__
        return "\nbecause of\n".join(parts)

    def format(self, record: logging.LogRecord) -> str:
        return _CONTACT_SHAPES.sub(_HIDDEN, super().format(record))


class _Current:
    """The one logger of the process: structlog makes a new one ready at each call, which costs more."""

    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def set_up_logs(level: str, style: str, stream: TextIO | None = None) -> None:
    """Send every log line of the process to a stream (standard error by default), as JSON or as text."""
    out = stream or sys.stderr
    render: Any = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            _name_request,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            hide_contacts,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    _Current.log = structlog.get_logger()
    handler = logging.StreamHandler(out)
    handler.setFormatter(_BlankingFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger; call it with an event name and ids: ``logger().info("lead.captured", …)``."""
    return _Current.log


def where(error: BaseException) -> str:
    """Say where an error rose, without its message, which may quote what a person typed."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    return f"{type(error).__name__} at {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
