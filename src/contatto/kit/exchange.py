"""A request to an outside system and what came of it, as values that connectors make and read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is to be sent; ``repr`` hides headers and body, which hold tokens and texts."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the other side said; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Trouble(StrEnum):
    """Why there is no answer. After ``LOST`` the other side may have acted on the request."""

    FORBIDDEN = "forbidden_address"
    UNREACHED = "unreached"
    LOST = "answer_lost"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    trouble: Trouble


type Exchange = HttpAnswer | NoAnswer


def retry_after_s(answer: HttpAnswer) -> float | None:
    """The seconds of ``Retry-After``, an hour at most; its form as a date is not used by those we call."""
    text = answer.headers.get("retry-after", "").strip()
    return min(float(text), 3_600.0) if text.isascii() and text.isdigit() and len(text) < 8 else None
