"""Requests to outside systems as values: exchange, next step, outcome and circuit breaker.

Each step is a request to send next, or the outcome. So a delivery may refresh a token, look something up and
then write, or poll from a cursor. Connectors build and parse these values, and do no I/O.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Annotated, Final

from contatto.kit.values import SealedIn

MAIL_METHOD: Final = "MAIL"
MAIL_ADDRESS: Final = "mailto:"
"""Address of a mail: the operator's mail server takes it, ``to`` is a header, the status is the reply code.

Source: RFC 6068 for the scheme."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Request to send; ``repr`` hides headers and body, which contain tokens and texts."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Response of an outside system; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class SendFailure(StrEnum):
    """Reason of a missing response; after ``LOST`` and ``BROKEN`` the request may have arrived."""

    FORBIDDEN = "forbidden_address"
    UNREACHED = "unreached"
    LOST = "answer_lost"
    BROKEN = "broken"


EXPIRED: Final = "expired"
DISMISSED: Final = "dismissed"
"""Further reasons of the machine; kinds have their own."""
type HttpOutcome = HttpAnswer | SendFailure


LONGEST_WAIT_S: Final = 3_600.0
"""Upper bound of ``Retry-After``."""


def retry_after_s(answer: HttpAnswer) -> float | None:
    """Return the seconds of ``Retry-After``, an hour at most.

    A date counts from the date of the response, so that wrong clocks do not matter.

    Source: RFC 9110, 10.2.3.
    """
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 8:
        return min(float(text), LONGEST_WAIT_S)
    try:
        until, sent_at = parsedate_to_datetime(text), parsedate_to_datetime(answer.headers.get("date", ""))
        return min(max(0.0, (until - sent_at).total_seconds()), LONGEST_WAIT_S)
    except (ValueError, TypeError, OverflowError):  # no date, or one of the two without its zone
        return None


OPENS_AFTER: Final = 5
"""Consecutive failures that open the breaker."""
COOL_S: Final = (5.0, 15.0, 60.0, 300.0)
"""Seconds until the next probe: after opening, after the first failed probe, and so on."""
JITTER: Final = 0.2
"""Random share added to a wait, so that retries do not coincide."""


def with_jitter(seconds: float, chance: float) -> float:
    """Return a wait with jitter, for a random number from 0 to 1."""
    return seconds * (1 + JITTER * chance)


@dataclass(eq=False)
class Destination:
    """Requests in flight to one destination, and its circuit breaker.

    After some failures in a row nothing is sent for a while, then one probe. A response closes the breaker; a
    failed probe extends the pause.

    Source: Michael T. Nygard, "Release It!", chapter 5, "Circuit Breaker".
    """

    _places: int
    _chance: Callable[[], float]
    in_flight: int = 0
    _failures: int = 0
    _opened: int = 0
    _closed_until: float = 0.0

    def room(self, now_s: float) -> int:
        """Return the number of requests that may be sent."""
        if not self._opened:
            return self._places - self.in_flight
        return 0 if now_s < self._closed_until or self.in_flight else 1

    @property
    def is_idle(self) -> bool:
        """Return whether it has no state worth remembering."""
        return not (self.in_flight or self._failures or self._opened)

    @property
    def is_open(self) -> bool:
        return bool(self._opened)

    def note(self, now_s: float, *, is_answered: bool) -> None:
        """Record the result of a request."""
        if is_answered:
            self._failures = self._opened = 0
            return
        self._failures += 1
        if self._failures >= OPENS_AFTER and now_s >= self._closed_until:
            cool_s = COOL_S[min(self._opened, len(COOL_S) - 1)]
            self._closed_until = now_s + with_jitter(cool_s, self._chance())
            self._opened += 1


class RequestState(StrEnum):
    """State of a job; a dead one is a dead letter, which waits for a member."""

    DUE = "due"
    DONE = "done"
    DEAD = "dead"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class NewRequest:
    """Request to queue.

    Attributes:
        subject: the owner's name for it; no contact value.
        destination: unit of the circuit breaker, such as a host.
        line: requests of one line are sent in sequence; empty for none.
        progress: cursor of a poll; sealed.
    """

    business_id: str
    kind: str
    subject: str
    destination: str
    line: str = ""
    progress: str = ""


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """Job as a row.

    ``is_unsure``: the last step may have arrived. ``failed_at`` is the first failure of the
    current series, ``claim`` identifies the sender. A job of a handler has an ``event_seq``.
    """

    id: int
    business_id: str
    kind: str
    subject: str
    destination: str
    line: str
    state: RequestState
    attempts: int
    due_at: datetime
    claim: str | None
    is_unsure: bool
    progress: Annotated[str, SealedIn("jobs.progress", ("kind", "subject", "created_at"))] = field(repr=False)
    reason: str
    created_at: datetime
    expires_at: datetime | None
    failed_at: datetime | None
    event_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Next request to send.

    Attributes:
        request: the HTTP request.
        progress: state for the step after it; sealed and stored before sending.
        is_repeatable: whether it may be sent again after a lost response. If not, a lost response ends the
            delivery, until a member or news of the outside system decide.
    """

    request: HttpRequest
    progress: str = field(default="", repr=False)
    is_repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """The outside system accepted it, or nothing remains to do."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """Not accepted, but worth a retry, after ``after_s`` seconds at the earliest."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Not accepted, and no retry would help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """Poll that is complete up to ``progress``, and continues after ``after_s`` seconds."""

    progress: str = field(repr=False)
    after_s: float


type Outcome = Done | NotNow | Failed | Later
type Step = Ask | Outcome


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """Seconds before each retry; after the last one, or after the lifetime, the request is dead."""

    waits_s: tuple[int, ...]
    lifetime: timedelta | None = None
