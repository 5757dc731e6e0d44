"""Ports of leads, which higher packages implement."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from contatto.kit.db.tx import Tx
from contatto.leads.model import ErasedPeople


class Merged(Protocol):
    """Handler of a merge or its undo, in the same transaction."""

    def __call__(
        self, tx: Tx, business_id: str, kept_id: str, merged_id: str, *, is_undone: bool
    ) -> None: ...


type LeadIds = Callable[[Tx, str], sa.Select[Any]]
"""Selects ids of leads of a business."""


class Change(Protocol):
    """Handler of changed leads, in order and in the same transaction."""

    def __call__(self, tx: Tx, business_id: str, /, *lead_ids: str) -> None: ...


type Forget = Callable[[Tx, ErasedPeople], set[str]]
"""Deletes the data of people, and returns the contact values that it contained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadPorts:
    """Functions of higher packages that leads call.

    All are required, because the erasure of a person must not omit a table.

    Attributes:
        unread_chats: leads with unread chats.
        waiting_chats: leads with chats that wait for an answer.
        first_answer: times of the customer's first message in a conversation, and of the first answer.
        in_crm: leads with this delivery state in any linked CRM.
        crm_states: worst delivery state of each lead in the linked CRMs, without leads that were never due.
        consents: a lead's answers to questions for consent, with ``at``, ``given`` and ``text``.
        hold_chats: locks the chats of persons before an erasure reads them, so that nothing is added.
        forget_chats: deletes chats; it runs first, since chats may hold further contact values.
        forget_answers: deletes answers to forms.
        forget_audiences: deletes members of audiences.
        forget_viewers: deletes viewers of ads from the data of delivery.
        lead_changed: handles new leads, and changes that outside systems must learn.
        leads_merged: handles a merge; with ``is_undone`` its undo.
        leads_gone: handles deleted leads, which outside systems must erase too.
    """

    unread_chats: LeadIds
    in_crm: Callable[[Tx, str, str], sa.Select[Any]]
    crm_states: Callable[[Tx, str, Collection[str]], Mapping[str, str]]
    waiting_chats: LeadIds
    first_answer: Callable[[Tx, str, str], tuple[datetime, datetime | None] | None]
    consents: Callable[[Tx, str, str], Sequence[Any]]
    hold_chats: Callable[[Tx, str, Collection[str]], None]
    forget_chats: Forget
    forget_answers: Forget
    forget_audiences: Forget
    forget_viewers: Forget
    lead_changed: Change
    leads_merged: Merged
    leads_gone: Callable[[Tx, str, Collection[str]], None]
