"""Events that a CRM sends back about leads: what they look like, and which status each brings.

Source: TikTok Business API v1.3, Events API 2.0 (``event_source`` crm: event names are free).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import SealedIn
from contatto.leads.model import LeadStatus
from contatto.leads.rules.records import MOVES

MOST_SETS: Final = 50
"""CRM event sets of one ad account."""
MOST_EVENTS: Final = 1_000
"""Events of one request."""
NAME_LIMIT: Final = 40
EVENT_LIMIT: Final = 64
AHEAD: Final = timedelta(days=1)
"""How far a sender's clock may be ahead."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WORD: Final = re.compile(r"[^a-z0-9]+")

STATUS_WORDS: Final = {
    LeadStatus.CONTACTED: frozenset(
        {"contacted", "contact", "lead_contacted", "contacted_lead", "in_progress"}
    ),
    LeadStatus.QUALIFIED: frozenset(
        {
            "qualified",
            "qualified_lead",
            "lead_qualified",
            "sales_qualified",
            "sales_qualified_lead",
            "sql",
            "marketing_qualified_lead",
            "mql",
            "opportunity",
        }
    ),
    LeadStatus.CONVERTED: frozenset(
        {
            "converted",
            "converted_lead",
            "lead_converted",
            "conversion",
            "purchase",
            "complete_payment",
            "place_an_order",
            "closed_won",
            "deal_won",
            "won",
            "customer",
        }
    ),
    LeadStatus.UNQUALIFIED: frozenset(
        {
            "unqualified",
            "unqualified_lead",
            "lead_unqualified",
            "disqualified",
            "disqualified_lead",
            "closed_lost",
            "deal_lost",
            "lost",
            "junk",
            "junk_lead",
            "spam",
        }
    ),
}
"""Which names of events stand for which status, in small letters with underscores; others bring none."""
_RANK: Final = {
    LeadStatus.RAW: 0,
    LeadStatus.UNQUALIFIED: 0,
    LeadStatus.CONTACTED: 1,
    LeadStatus.QUALIFIED: 2,
    LeadStatus.CONVERTED: 3,
}


@dataclass(frozen=True, slots=True)
class EventSet:
    """A CRM's place to send events to; ``number`` is the API's ``event_set_id``."""

    id: str
    business_id: str
    number: int
    ad_account_id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LeadEvent:
    """Something that a CRM saw happen to a lead; the same ``natural_key`` again is the same event."""

    id: str
    business_id: str
    lead_id: str
    set_number: int
    name: Annotated[str, SealedIn("lead_events.name")]
    natural_key: str
    status: LeadStatus | None
    occurred_at: datetime
    received_at: datetime


def status_of_event(name: str) -> LeadStatus | None:
    """The status that an event's name stands for, however it is written."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    word = _WORD.sub("_", spaced.lower()).strip("_")
    return next((status for status, words in STATUS_WORDS.items() if word in words), None)


def follows(current: LeadStatus, wanted: LeadStatus | None) -> bool:
    """Return whether an event moves a lead on. A late word of an earlier stage takes nothing back."""
    if wanted is None or wanted not in MOVES[current]:
        return False
    return wanted is LeadStatus.UNQUALIFIED or _RANK[wanted] > _RANK[current]


def check_hashes(where: str, values: Iterable[str]) -> None:
    """Refuse what is no SHA-256; contact details in clear are not taken.

    Raises:
        Refused: NOT_HASHED, which does not repeat the value.
    """
    if not all(_SHA256.fullmatch(value) for value in values):
        raise Refused(errors.NOT_HASHED, f"{where}: a value is no SHA-256 in lower-case hexadecimal.")


def check_event_time(where: str, at_s: int, now: datetime) -> datetime:
    """The time of an event.

    Raises:
        Refused: INVALID, for one that is not in seconds, or lies in the future.
    """
    latest = (now + AHEAD).timestamp()
    if not 0 < at_s <= latest:
        raise Refused(errors.INVALID, f"{where}: give seconds since 1970, not later than now.")
    return datetime.fromtimestamp(at_s, now.tzinfo)
