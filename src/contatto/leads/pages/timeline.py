"""What the timeline of a lead shows from elsewhere: what its person agreed to, and who looked at it."""

from itertools import groupby
from typing import Final

from contatto.audit.model import AuditEntry
from contatto.audit.store import list_acts_on
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_, Translator
from contatto.leads.model.leads import Lead
from contatto.leads.pages.lead_view import TimelineEvent
from contatto.leads.ports import LeadPorts

SHOWN_LOOKS: Final = 200
"""The latest looks that are shown; the audit log has all."""
SHOWN_TEXT: Final = 160
_CONSENT_TEXTS: Final = {True: N_("Agreed to: %(text)s"), False: N_("Did not agree to: %(text)s")}
_LOOK: Final = "GET /leads/{lead_id}"


def consent_events(tx: Tx, lead: Lead, words: Translator) -> list[TimelineEvent]:
    """An event for each consent that the person was asked for."""
    found = tx.ports[LeadPorts].consents(tx, lead.business_id, lead.id)
    return [
        TimelineEvent("consent", each.at, words.gettext(_CONSENT_TEXTS[each.given], text=_short(each.text)))
        for each in found
    ]


def look_events(tx: Tx, lead: Lead, words: Translator) -> list[TimelineEvent]:
    """An event for each member and day of looking, at the time of the last look: an open page looks often."""
    entries = list_acts_on(tx, lead.business_id, _LOOK, f"lead_id={lead.id}", SHOWN_LOOKS)
    by_day = sorted(entries, key=_whose_day)
    return [_look_event(list(looks), words) for _, looks in groupby(by_day, key=_whose_day)]


def _whose_day(entry: AuditEntry) -> tuple[str, str]:
    return entry.actor_id, entry.at.date().isoformat()


def _look_event(looks: list[AuditEntry], words: Translator) -> TimelineEvent:
    last = max(looks, key=lambda entry: entry.seq)
    text = words.ngettext("Viewed this lead", "Viewed this lead %(num)s times on this day", len(looks))
    return TimelineEvent("look", last.at, text, last.actor)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_TEXT else f"{text[: SHOWN_TEXT - 1]}…"
