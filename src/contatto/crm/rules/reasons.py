"""Why something did not arrive in a CRM, or why that CRM is not written to, in words for people."""

from collections.abc import Mapping
from typing import Final

from contatto.crm.rules.delivering import DIFFERS, WRONG_STAYS
from contatto.kit.i18n import N_, LazyText

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
