"""What can be taken back on the page of a lead: the last change of its status, a label that was taken off."""

from typing import Final

from contatto.kit.db.tx import Tx
from contatto.kit.i18n import Translator
from contatto.leads.actions.points import list_put_back
from contatto.leads.model.leads import STATUS_TEXTS, HistoryEntry, HistoryKind, Lead, LeadStatus
from contatto.leads.pages.lead_view import UndoView
from contatto.leads.rules.records import ARROW, UNDO_WITHIN, status_step_to_undo
from contatto.leads.store.annotations import list_labels_of

_SHOWN: Final = 5
"""Details that were called no contact, of which so many are offered to be put back."""


def moved_text(step: HistoryEntry, words: Translator) -> str:
    """A change of status in the reader's language."""
    return ARROW.join(words.gettext(STATUS_TEXTS[LeadStatus(status)]) for status in step.detail.split(ARROW))


def undos_of(tx: Tx, lead: Lead, history: list[HistoryEntry], words: Translator) -> list[UndoView]:
    """What can be undone, the latest first."""
    if lead.hidden_at is not None:
        return []
    found = [
        *_status(tx, lead, history, words),
        *_label(tx, lead, history, words),
        *_rejects(tx, lead, words),
    ]
    return sorted(found, key=lambda undo: undo.at, reverse=True)


def _status(tx: Tx, lead: Lead, history: list[HistoryEntry], words: Translator) -> list[UndoView]:
    step = status_step_to_undo(history, lead.status, tx.now)
    if step is None:
        return []
    text = words.gettext("Status: %(detail)s", detail=moved_text(step, words))
    return [UndoView(text, step.at, step.actor, "/status/undo", {"seen": lead.status.value})]


def _label(tx: Tx, lead: Lead, history: list[HistoryEntry], words: Translator) -> list[UndoView]:
    """The label that was taken off last, unless it is back."""
    taken = [step for step in history if step.what is HistoryKind.UNLABELLED and step.detail]
    if not taken or tx.now - taken[-1].at > UNDO_WITHIN:
        return []
    step = taken[-1]
    worn = {label.name for label in list_labels_of(tx, lead.business_id, [lead.id])[lead.id]}
    if step.detail in worn:
        return []
    text = words.gettext("Label removed: %(detail)s", detail=step.detail)
    return [UndoView(text, step.at, step.actor, "/labels", {"name": step.detail})]


def _rejects(tx: Tx, lead: Lead, words: Translator) -> list[UndoView]:
    """The details that were called no contact, each of which can be put back."""
    return [
        UndoView(
            words.gettext("Not a contact detail: %(detail)s", detail=each.point.value),
            each.at,
            each.actor,
            f"/rejected/{each.id}/undo",
            {},
        )
        for each in list_put_back(tx, lead.business_id, lead.id)[:_SHOWN]
    ]
