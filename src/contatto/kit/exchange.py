"""A request to an outside system and what came of it, as values that connectors make and read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

MAIL_METHOD: Final = "MAIL"
MAIL_ADDRESS: Final = "mailto:"
"""How a mail is named among requests: it goes to the operator's mail server, ``to`` stands in its headers,
and the status of its answer is the reply code. Source: RFC 6068 for the scheme."""


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


class SendFailure(StrEnum):
    """Why there is no answer. After ``LOST`` and ``BROKEN`` the other side may have acted on the request."""

    FORBIDDEN = "forbidden_address"
    UNREACHED = "unreached"
    LOST = "answer_lost"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    trouble: SendFailure


type HttpOutcome = HttpAnswer | NoAnswer


LONGEST_WAIT_S: Final = 3_600.0
"""No ``Retry-After`` is waited for longer."""


def retry_after_s(answer: HttpAnswer) -> float | None:
    """The seconds of ``Retry-After``, an hour at most.

    A date is counted from the date of the answer, so it does not matter whose clock is wrong.
    Source: RFC 9110, 10.2.3.
    """
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 8:
        return min(float(text), LONGEST_WAIT_S)
    try:
        until, said = parsedate_to_datetime(text), parsedate_to_datetime(answer.headers.get("date", ""))
        return min(max(0.0, (until - said).total_seconds()), LONGEST_WAIT_S)
    except (ValueError, TypeError, OverflowError):  # no date, or one of the two without its zone
        return None
