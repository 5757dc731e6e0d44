"""Requests to outside systems as values: exchange, next step, outcome and circuit breaker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
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


OPENS_AFTER: Final = 5
"""Tries in a row without an answer."""
COOL_S: Final = (5.0, 15.0, 60.0, 300.0)
"""How long nothing is sent: after it has opened, after the first probe that failed, and so on."""
JITTER: Final = 0.2
"""Share of a wait that chance may add, so that not all come back at the same moment."""


def with_jitter(seconds: float, chance: float) -> float:
    """A wait with what chance (0–1) adds to it."""
    return seconds * (1 + JITTER * chance)


class Destination:
    """What is on its way to one destination, and its breaker.

    Args:
        places: requests that may be on their way at once.
        chance: gives numbers from 0 to 1.
    """

    def __init__(self, places: int, chance: Callable[[], float]) -> None:
        self._places = places
        self._chance = chance
        self._on_its_way = 0
        self._failures = 0
        self._opened = 0
        self._closed_until = 0.0

    def room(self, now_s: float) -> int:
        """Return how many more requests may be sent now."""
        if not self._opened:
            return self._places - self._on_its_way
        return 0 if now_s < self._closed_until or self._on_its_way else 1

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is worth remembering."""
        return not (self._on_its_way or self._failures or self._opened)

    @property
    def is_open(self) -> bool:
        """Return whether the breaker keeps requests back."""
        return bool(self._opened)

    def begin(self) -> None:
        self._on_its_way += 1

    def end(self) -> None:
        self._on_its_way -= 1

    def note(self, now_s: float, *, is_answered: bool) -> None:
        """Note whether a request was answered."""
        if is_answered:
            self._failures = self._opened = 0
            return
        self._failures += 1
        if self._failures >= OPENS_AFTER and now_s >= self._closed_until:
            cool_s = COOL_S[min(self._opened, len(COOL_S) - 1)]
            self._closed_until = now_s + with_jitter(cool_s, self._chance())
            self._opened += 1


class RequestState(StrEnum):
    """What became of a request; dead is a dead letter, which waits for a person."""

    DUE = "due"
    DONE = "done"
    DEAD = "dead"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request to keep.

    Attributes:
        business_id: whose it is; businesses have turns.
        kind: the name of its kind, which is kept and must never change.
        subject: what its owner calls it; no contact value.
        destination: what is slow or down as a whole, such as a host; shared by all that go there.
        line: requests of one line are sent one after the other, in their order; empty for none.
        progress: from where a poll goes on; sealed.
    """

    business_id: str
    kind: str
    subject: str
    destination: str
    line: str = ""
    progress: str = ""


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """A request as its row.

    ``is_unsure`` says that the other side may have acted on what was sent last. ``failed_at`` is the first
    failure since it was last taken, ``claim`` says who is at it.
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
    progress: str = field(repr=False)
    reason: str
    created_at: datetime
    expires_at: datetime | None
    failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this next.

    Attributes:
        request: what is sent.
        progress: what the step after it has to know; kept sealed before it is sent.
        is_repeatable: whether it may be sent again when its answer was lost. If not, a lost answer is the
            end, until a person or the other side's own news say more.
    """

    request: HttpRequest
    progress: str = field(default="", repr=False)
    is_repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """The other side has taken it, or nothing is to be done any more."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """Not taken, and worth another try, after so many seconds at the earliest if the other side says so."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Not taken, and no repeat will change that."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """A poll: all is taken up to here, and is to be asked again from here after so many seconds."""

    progress: str = field(repr=False)
    after_s: float


type Outcome = Done | NotNow | Failed | Later
type Step = Ask | Outcome


@dataclass(frozen=True, slots=True)
class Result:
    """What an outcome makes of a request; with a time it is tried again then."""

    state: RequestState
    reason: str = ""
    due_at: datetime | None = None


FORBIDDEN_ADDRESS: Final = "forbidden_address"
UNREACHED: Final = "unreached"
ANSWER_LOST: Final = "answer_lost"
EXPIRED: Final = "expired"
BROKEN: Final = "broken"
DISMISSED: Final = "dismissed"
"""Why there is no answer, or no further try; the rest of the reasons are those of the kinds."""


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """Seconds before each further try; when they are used up, or the lifetime is over, it is dead."""

    waits_s: tuple[int, ...]
    lifetime: timedelta | None = None
