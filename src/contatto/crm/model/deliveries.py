"""A delivery: one revision of a lead on its way to one target, and the record that it reached."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from contatto.kit.i18n import SealedIn


class DeliveryState(StrEnum):
    """How far a delivery is: verified means read back in the CRM, dead waits for a person."""

    DUE = "due"
    SENT = "sent"
    VERIFIED = "verified"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One revision of a lead for one target; with it goes all that the lead is when it is sent.

    So a later revision that arrives settles the earlier ones of the same lead. ``edited`` are values that a
    member put in the place of the mapped ones, as JSON; ``reason`` is a code.
    """

    id: int
    business_id: str
    target_id: str
    lead_id: str
    revision: int
    state: DeliveryState
    reason: str
    edited: Annotated[str, SealedIn("crm_deliveries.edited", ("target_id", "lead_id", "revision"))]
    created_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class CrmProgressed:
    """A delivery to a linked CRM, or with an empty ``lead_id`` the connection itself, got a new state."""

    business_id: str
    target_id: str
    lead_id: str


class ErasureState(StrEnum):
    """How far a person is erased in a target; finished means that a read found nothing."""

    DUE = "due"
    FINISHED = "finished"
    PARTIAL = "partial"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RecordLink:
    """A lead's record in a target.

    Attributes:
        record_id: the CRM's id; empty while none is known.
        revision: the latest of the lead for this target, and ``state`` what became of that one.
        verified_revision: the latest that was read back, at ``verified_at``.
        merged_into: the lead that this one was merged into.
        status, owner, value: as the CRM told them last.
        told_by: who wrote that there, at ``told_at``.
        seen_at: when a comparison saw the record last.
        gone_at: when one found that it was gone, and sent the lead again: that is done once.
    """

    business_id: str
    target_id: str
    lead_id: str
    record_id: str
    revision: int
    state: DeliveryState
    verified_revision: int
    verified_at: datetime | None
    merged_into: str | None
    status: str
    owner: Annotated[str, SealedIn("crm_records.owner", ("target_id", "lead_id"))]
    value: str
    told_by: Annotated[str, SealedIn("crm_records.told_by", ("target_id", "lead_id"))]
    told_at: datetime | None
    seen_at: datetime | None
    gone_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeadRecords:
    """A lead's record in a target, if any, and those of the leads that were merged into it."""

    own: RecordLink | None
    merged: list[RecordLink]

    @property
    def ids(self) -> tuple[str, ...]:
        """The CRM's ids that may lead to its record, each once: first what was known as its own."""
        links = [self.own, *self.merged] if self.own else self.merged
        return tuple(dict.fromkeys(link.record_id for link in links if link.record_id))


@dataclass(frozen=True, slots=True)
class Erasure:
    """A person who is to be erased in a target; ``record_id`` is empty if no record was ever known."""

    id: int
    business_id: str
    target_id: str
    lead_id: str
    record_id: str
    state: ErasureState
    reason: str
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Payload:
    """What goes to a CRM of one lead: made when the delivery begins, and kept with it until it ends.

    Attributes:
        external_id: our id of the lead.
        former_ids: ids of leads that were merged into it: a record may carry one of them.
        revision: of the lead for this target.
        values: by the CRM's names of its fields.
        note: what has no field.
        email, phone: what the record is looked for by.
        occurred_at: in ISO 8601.
        sources: what each field was made of, for the note if the field is gone.
        wrong: values that members marked wrong, by the CRM's fields: the record must not keep them.
        stand_ins: what a new record has in fields that the CRM requires and the lead has no value for.
    """

    external_id: str
    revision: int
    values: dict[str, str]
    note: str
    email: str
    phone: str
    occurred_at: str
    former_ids: tuple[str, ...] = ()
    sources: dict[str, str] = field(default_factory=dict)
    stand_ins: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)
