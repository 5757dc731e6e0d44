"""Why something did not arrive in a CRM, or why that CRM is not written to, in words for people."""

from collections.abc import Mapping
from typing import Final

from contatto.crm.rules.delivering import DIFFERS
from contatto.kit.i18n import N_, LazyText

_KEY: Final = N_("The CRM does not take the token or password")
_RULE: Final = N_("A rule of the CRM refuses this lead")
REASONS: Final[Mapping[str, str]] = {
    "401": _KEY,
    "402": N_("The CRM asks for a payment first"),
    "403": N_("The CRM does not allow that"),
    "410": N_("The other side wants no more leads"),
    "429": N_("The CRM asks us to slow down"),
    "access_denied": _KEY,
    "access_error": N_("The user there may not do that"),
    "answer_lost": N_("No answer came"),
    "bad_secret": N_("The secret is none: it begins with whsec_"),
    "broken": N_("This went wrong on our side, and is in the log. Try again."),
    "circles": N_("The CRM sends us in circles"),
    "exists": N_("The CRM has this person already, and does not say where"),
    "expired": N_("It could not be sent in time"),
    "forbidden_address": N_("Address not allowed"),
    "fault": N_("The CRM is out of order"),
    "invalid_client": _KEY,
    "invalid_grant": _KEY,
    "lead_gone": N_("This lead is gone"),
    "login": _KEY,
    "mapping": N_("A field of the CRM does not take its value"),
    "not_let_in": N_("It lets us in no more"),
    "not_ours": N_("The record there is not ours by now"),
    "not_taken": N_("The CRM takes nothing of it"),
    "not_there_yet": N_("It was written, and is not there yet"),
    "required_field_missing": N_("A field that the CRM requires is empty"),
    "server_error": N_("The CRM is out of order"),
    "shared_record": N_("It is one record with another lead there"),
    "still_there": N_("The person is still there"),
    "taken_by_another_lead": N_("Another lead has this record: merge the two leads"),
    "undescribed": N_("The CRM does not say which fields it has"),
    "unknown_connector": N_("This release has no such connector"),
    "unreached": N_("Not reached"),
    "unreadable": N_("The answer made no sense"),
    "unsupported": N_("The CRM cannot do that"),
    "user_error": _RULE,
    "user_warning": _RULE,
    "validation_error": _RULE,
}
"""By the codes of connectors and of the outbound machine."""
IDLE: Final[Mapping[str, str]] = {
    "expired": _KEY,
    "not_renewed": N_("The CRM gives no new token"),
}
"""Why a linked CRM is not written to, where that says more than ``REASONS``."""
_DIFFERS: Final = f"{DIFFERS}_"


def reason_text(reason: str) -> LazyText | str:
    """A code as a sentence; one of the CRM alone, as it is."""
    if reason in REASONS:
        return LazyText(REASONS[reason])
    if reason.startswith(_DIFFERS):
        return LazyText(N_("The CRM keeps something else in %(field)s"), field=reason.removeprefix(_DIFFERS))
    if reason.isdigit():
        return LazyText(N_("The other side answered %(code)s"), code=reason)
    return reason


def idle_text(reason: str) -> LazyText | str:
    """Why a linked CRM is not written to."""
    return LazyText(IDLE[reason]) if reason in IDLE else reason_text(reason)
