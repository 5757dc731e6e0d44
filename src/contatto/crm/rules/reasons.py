"""Alarms of linked CRMs, and reason codes as texts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from contatto.crm.model import Target, TargetState
from contatto.crm.rules.deliveries import DIFFERS, WRONG_STAYS
from contatto.integrations.model import Alarm, LedgerCounts, list_ledger_alarms
from contatto.kit.i18n import N_, LazyText


def find_alarms(target: Target, counts: LedgerCounts, at: datetime) -> tuple[Alarm, ...]:
    """Return the alarms of a linked CRM, the worst first."""
    is_shut_out = target.state is TargetState.DISCONNECTED
    alarms = list_ledger_alarms(
        counts, at, target.verified_at, is_active=target.is_active, is_shut_out=is_shut_out
    )
    if target.comparison is not None and target.comparison.differs:
        alarms = *alarms, Alarm.DIFFERS
    return (*alarms, Alarm.MAPPING) if target.faults else alarms


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
"""Sentences by the reason codes of connectors and of the outbound machine."""
IDLE: Final[Mapping[str, str]] = {"expired": _KEY, "not_renewed": N_("The CRM did not issue a new token")}
"""Reasons why a linked CRM gets no leads, where ``REASONS`` is less exact."""
_DIFFERS: Final = f"{DIFFERS}_"


def reason_text(reason: str) -> LazyText | str:
    """Return a reason code as a sentence; a CRM's own code unchanged."""
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
    """Return why a linked CRM gets no leads, as a sentence."""
    return LazyText(IDLE[reason]) if reason in IDLE else reason_text(reason)


DENIED: Final = "access_denied"
"""The person refused. Source: RFC 6749, 4.1.2.1."""
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
"""Parts of a vendor's code, in the order of the search."""
_UNKNOWN_REFUSAL: Final = N_("The CRM vendor refused: %(code)s")


def consent_text(reason: str) -> LazyText:
    """Return the code of a vendor or of the outbound machine as a sentence."""
    if reason in _TEXTS:
        return LazyText(_TEXTS[reason])
    text = next((text for part, text in _PARTS if part in reason), "")
    return LazyText(text) if text else LazyText(_UNKNOWN_REFUSAL, code=reason[:60])
