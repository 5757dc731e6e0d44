"""Alarms of linked CRMs, and reason codes as texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from contatto.crm.model import Target, TargetState
from contatto.crm.rules.deliveries import ALARM_AFTER, DIFFERS, WRONG_STAYS
from contatto.kit.i18n import N_, LazyText


class Alarm(StrEnum):
    """Why a linked CRM wants somebody's attention, the worst first."""

    SHUT_OUT = "shut_out"
    NONE_ARRIVES = "none_arrives"
    DEAD = "dead"
    MISCOUNTED = "miscounted"
    DIFFERS = "differs"
    MAPPING = "mapping"


TOLD: Final = frozenset({Alarm.SHUT_OUT, Alarm.NONE_ARRIVES, Alarm.DEAD, Alarm.DIFFERS})
"""Alarms that members are alerted of wherever they are; the others wait on the pages."""


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """How a linked CRM stands: counts of leads by what became of them, and since when the oldest is due.

    ``leads`` is counted by itself, and is the sum of the others at any moment; ``to_come`` were there before
    the CRM was linked, and are not due yet.
    """

    leads: int = 0
    to_come: int = 0
    due: int = 0
    sent: int = 0
    verified: int = 0
    dead: int = 0
    due_since: datetime | None = None

    @property
    def adds_up(self) -> bool:
        return self.leads == self.to_come + self.due + self.sent + self.verified + self.dead


def none_arrives(target: Target, due_since: datetime | None, now: datetime) -> bool:
    """Return whether leads have been due for five minutes and none has arrived since."""
    if not target.is_active or due_since is None or due_since > now - ALARM_AFTER:
        return False
    return target.verified_at is None or target.verified_at < now - ALARM_AFTER


def find_alarms(target: Target, standing: DeliveryCounts, now: datetime) -> tuple[Alarm, ...]:
    """What is wrong with a linked CRM, the worst first."""
    found = {
        Alarm.SHUT_OUT: target.state is TargetState.DISCONNECTED,
        Alarm.NONE_ARRIVES: none_arrives(target, standing.due_since, now),
        Alarm.DEAD: standing.dead > 0,
        Alarm.MISCOUNTED: not standing.adds_up,
        Alarm.DIFFERS: target.comparison is not None and target.comparison.differs,
        Alarm.MAPPING: bool(target.faults),
    }
    return tuple(alarm for alarm, is_so in found.items() if is_so)


_KEY: Final = N_("The CRM rejects the token or password")
_RULE: Final = N_("A rule in the CRM rejects this lead")
REASONS: Final[Mapping[str, str]] = {
    "401": _KEY,
    "402": N_("The CRM requires a payment"),
    "403": N_("The CRM does not permit this action"),
    "410": N_("The receiving program accepts no more leads"),
    "429": N_("The CRM's rate limit is reached"),
    "access_denied": _KEY,
    "access_error": N_("The CRM user lacks the permission"),
    "answer_lost": N_("No response received"),
    "bad_secret": N_("The secret is not valid: it must start with whsec_"),
    "broken": N_("Something went wrong in Contatto and was logged. Try again."),
    "circles": N_("The CRM repeats the same pages"),
    "exists": N_("The CRM already has this person, but does not return the record"),
    "expired": N_("The time limit for sending has passed"),
    "forbidden_address": N_("Address not allowed"),
    "fault": N_("The CRM has a technical problem"),
    "invalid_client": _KEY,
    "invalid_grant": _KEY,
    "lead_gone": N_("This lead was deleted"),
    "login": _KEY,
    "mapping": N_("A CRM field rejects its value"),
    "not_let_in": N_("The CRM no longer accepts our access"),
    "not_ours": N_("The CRM record now belongs to another lead"),
    "not_taken": N_("The CRM accepts none of the values"),
    "not_there_yet": N_("Sent, but not visible in the CRM yet"),
    "required_field_missing": N_("A required CRM field is empty"),
    "server_error": N_("The CRM has a technical problem"),
    "shared_record": N_("The lead shares a CRM record with another lead"),
    "still_there": N_("The person is still in the CRM"),
    "taken_by_another_lead": N_("Another lead has this CRM record: merge the two leads"),
    "undescribed": N_("The CRM does not list its fields"),
    "unknown_connector": N_("This version of Contatto does not support this CRM"),
    "unreached": N_("Server not reached"),
    "unreadable": N_("The response could not be read"),
    "unsupported": N_("The CRM does not support this action"),
    "user_error": _RULE,
    "user_warning": _RULE,
    "validation_error": _RULE,
    WRONG_STAYS: N_("Delivered, but the CRM keeps a value that is marked wrong: remove it there"),
}
"""By the codes of connectors and of the outbound machine."""
IDLE: Final[Mapping[str, str]] = {
    "expired": _KEY,
    "not_renewed": N_("The CRM did not issue a new token"),
}
"""Why a linked CRM is not written to, where that says more than ``REASONS``."""
_DIFFERS: Final = f"{DIFFERS}_"


def reason_text(reason: str) -> LazyText | str:
    """A code as a sentence; one of the CRM alone, as it is."""
    if reason in REASONS:
        return LazyText(REASONS[reason])
    if reason.startswith(_DIFFERS):
        return LazyText(
            N_("The CRM stores a different value in %(field)s"), field=reason.removeprefix(_DIFFERS)
        )
    if reason.isdigit():
        return LazyText(N_("The server returned error %(code)s"), code=reason)
    return reason


def idle_text(reason: str) -> LazyText | str:
    """Why a linked CRM is not written to."""
    return LazyText(IDLE[reason]) if reason in IDLE else reason_text(reason)


DENIED: Final = "access_denied"
"""The person said no. Source: RFC 6749, 4.1.2.1."""
_EXPIRED_PERMISSION: Final = N_("The permission has expired or was already used. Grant access again.")
_APP: Final = N_("The client ID and client secret do not match. Correct them below.")
_RETURN: Final = N_("The app at the CRM vendor has a different return address. Register the address below.")
_TEXTS: Final[Mapping[str, str]] = {
    DENIED: N_("Access was not granted. Nothing was changed."),
    "answer_lost": N_("No response received. Grant access again."),
    "expired": _EXPIRED_PERMISSION,
    "unreached": N_("The CRM vendor could not be reached. Grant access again."),
}
_PARTS: Final = (
    ("redirect", _RETURN),
    ("client", _APP),
    ("code", _EXPIRED_PERMISSION),
    ("grant", _EXPIRED_PERMISSION),
)
"""What stands in a vendor's code, in the order in which it is looked for."""
_UNKNOWN_REFUSAL: Final = N_("The CRM vendor refused: %(code)s")


def consent_text(reason: str) -> LazyText:
    """What a code of a vendor, or of the machine, means for a person."""
    if reason in _TEXTS:
        return LazyText(_TEXTS[reason])
    found = next((text for part, text in _PARTS if part in reason), "")
    return LazyText(found) if found else LazyText(_UNKNOWN_REFUSAL, code=reason[:60])
