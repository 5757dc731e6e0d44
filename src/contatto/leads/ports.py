"""Ports of leads, which packages above answer."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Select

from contatto.kit.db.tx import Tx
from contatto.leads.model import ErasedPeople


class ShownConsent(Protocol):
    """One answer to a question for consent, with its text."""

    @property
    def at(self) -> datetime: ...

    @property
    def given(self) -> bool: ...

    @property
    def text(self) -> str: ...


class Merged(Protocol):
    """Takes note of a merge of a business's leads, in its transaction."""

    def __call__(
        self, tx: Tx, business_id: str, kept_id: str, merged_id: str, *, is_undone: bool
    ) -> None: ...


type LeadIds = Callable[[Tx, str], Select[Any]]
"""Selects ids of leads of a business."""


class Change(Protocol):
    """Takes note of changes of a business's leads, in their order and in the transaction of these."""

    def __call__(self, tx: Tx, business_id: str, /, *lead_ids: str) -> None: ...


type Forget = Callable[[Tx, ErasedPeople], set[str]]
"""Deletes what is held of a person, and says which contact values it found there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadPorts:
    """All of them are required: erasing a person must not leave a table out.

    Attributes:
        unread_chats: leads with unread chats.
        waiting_chats: leads with chats that wait for an answer.
        first_answer: when somebody first wrote in a business's conversation, and was first answered.
        in_crm: leads that stand so in any of the linked CRMs.
        crm_states: how far leads are in those, the worst of each; none for a lead that was never due.
        consents: the answers to questions for consent of a business's lead.
        hold_chats: locks the chats of persons before anything is read, so that no other work adds to them.
        forget_chats: runs first, since chats may hold further contact values.
        forget_answers: the answers to forms.
        forget_audiences: the person as a member of audiences.
        forget_viewers: the person as a viewer of ads, in what delivery learns from.
        lead_changed: leads are there, or what outside systems know of them has changed.
        leads_merged: the second lead went into the first one; with ``is_undone`` they are two again.
        leads_gone: leads are gone for good, so outside systems have to forget them too.
    """

    unread_chats: LeadIds
    in_crm: Callable[[Tx, str, str], Select[Any]]
    crm_states: Callable[[Tx, str, Collection[str]], Mapping[str, str]]
    waiting_chats: LeadIds
    first_answer: Callable[[Tx, str, str], tuple[datetime, datetime | None] | None]
    consents: Callable[[Tx, str, str], Sequence[ShownConsent]]
    hold_chats: Callable[[Tx, str, Collection[str]], None]
    forget_chats: Forget
    forget_answers: Forget
    forget_audiences: Forget
    forget_viewers: Forget
    lead_changed: Change
    leads_merged: Merged
    leads_gone: Callable[[Tx, str, Collection[str]], None]
