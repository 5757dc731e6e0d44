"""Ids of failed work, what it was to do, and why it failed, in words for people."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from contatto.ad_platforms.model import PULL
from contatto.ad_platforms.rules.pulling import STOPS
from contatto.channels.model import CHECK
from contatto.channels.rules import check_text
from contatto.crm.rules.consent import consent_text
from contatto.crm.rules.plans import CONSENT
from contatto.crm.rules.reasons import reason_text as crm_reason
from contatto.inbox.model import REPLY
from contatto.inbox.rules import stop_text
from contatto.jobs.model import FailedWork, Source
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText
from contatto.signals.model.events import SIGNAL, SIGNAL_TEST
from contatto.signals.rules.reasons import reason_text as signal_reason

_ID: Final = re.compile(r"(job|request)-([1-9][0-9]{0,17})", re.ASCII)
_LEAD: Final = N_("Tell a program of a lead")
_MESSAGE: Final = N_("Tell a program of a message")
_LEARN: Final = N_("Learn from what became of an ad")
_ALERT: Final = N_("Tell members of what they want to know")
_FORGET: Final = N_("Delete what was kept of a removed lead")
WORK: Final[Mapping[str, str]] = {
    PULL: N_("Read an ad account of another platform"),
    SIGNAL: N_("Tell an ad platform what became of a lead"),
    SIGNAL_TEST: N_("Send a test event to an ad platform"),
    "alert_assignment": _ALERT,
    "alert_channel": _ALERT,
    "alert_lead": _ALERT,
    "alert_message": _ALERT,
    "alert_push": N_("Show an alert in a browser"),
    CHECK: N_("Ask a platform for an account"),
    "continue_job": N_("Change many leads"),
    "credit_referrals": N_("Credit chats to ads of another platform"),
    "crm_check": N_("Ask a CRM which fields it has"),
    CONSENT: N_("Be let into a CRM"),
    "crm_delivery": N_("Bring a lead to a CRM"),
    "crm_erasure": N_("Erase a person in a CRM"),
    "crm_poll": N_("Ask a CRM what has changed"),
    "crm_comparison": N_("Compare a CRM's records with the ledger"),
    "crm_trial": N_("Try a lead at a CRM, writing nothing"),
    "forget_lead": _FORGET,
    "forget_lead_pushes": _FORGET,
    "lead_changed_hook": _LEAD,
    "lead_created_hook": _LEAD,
    "lead_push": _LEAD,
    "judge_message": N_("Look whether a chat is spam"),
    "learn_conversation": _LEARN,
    "learn_lead": _LEARN,
    "learn_quality": _LEARN,
    "learn_spam": _LEARN,
    "mail": N_("Send a mail"),
    "message_push": _MESSAGE,
    "note_lead": N_("Count a lead for the reports"),
    "post_notice": N_("Write the line about a lead into its chat"),
    "push_form_lead": _LEAD,
    "push_hooks": _LEAD,
    "push_lead": _LEAD,
    "push_message": _MESSAGE,
    "push_read": _MESSAGE,
    "push_tap": _MESSAGE,
    "push_test_lead": _LEAD,
    REPLY: N_("Send a reply to the platform"),
    "signal_spam": N_("Tell an ad platform what became of a lead"),
    "signal_tap": N_("Tell an ad platform what became of a lead"),
}
"""What was to be done, by the name of a handler of events or of a kind of requests."""
REASONS: Final[Mapping[str, str]] = {"unknown handler": N_("It waits for a release that knows it")}
"""Why work fails that is no request; why requests fail, CRMs know too."""
_OWN_REASONS: Final[Mapping[str, Callable[[str], LazyText | str]]] = {
    REPLY: stop_text,
    CONSENT: consent_text,
    CHECK: check_text,
    SIGNAL: signal_reason,
    SIGNAL_TEST: signal_reason,
}
"""Who says why a kind of requests fails, where that is its owner alone."""


def read_id(text: str) -> tuple[Source, int]:
    """Where failed work waits, and its number there.

    Raises:
        Refused: NOT_FOUND, for a text that is no such id.
    """
    found = _ID.fullmatch(text)
    if found is None:
        raise Refused(errors.NOT_FOUND, "There is no such failed job.")
    return Source(found[1]), int(found[2])


def ids_in(payload: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What an event names by its id; nothing else of it is shown."""
    named = ((name, value) for name, value in payload.items() if name.endswith("_id"))
    return tuple((name, str(value)) for name, value in named if value and name != "business_id")


def work_text(failed: FailedWork) -> LazyText | str:
    """What was to be done; an unknown name as it is."""
    return LazyText(WORK[failed.name]) if failed.name in WORK else failed.name


def reason_text(failed: FailedWork) -> LazyText | str:
    """Why it failed last; a place in our code, or a code of the other side, as it is."""
    if failed.name in _OWN_REASONS:
        return _OWN_REASONS[failed.name](failed.reason)
    if failed.name == PULL and failed.reason in STOPS:
        return LazyText(STOPS[failed.reason])
    if failed.reason in REASONS:
        return LazyText(REASONS[failed.reason])
    return crm_reason(failed.reason)
