"""A request to an outside system that waits, its next step, and what becomes of it, as values.

Each step is either a request that is to be sent next, or the outcome: so one may refresh a token, look
something up and then write, or poll from a cursor on. Connectors make and read these values, and are pure.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from contatto.kit.exchange import HttpRequest


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
