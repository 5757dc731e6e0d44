"""A delivery: one revision of a lead on its way to one target, and the record that it reached."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from contatto.kit.sealed import SealedText


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
    edited: SealedText
    created_at: datetime
    sent_at: datetime | None
    settled_at: datetime | None


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
        revision: the latest of the lead for this target.
        verified_revision: the latest that was read back.
        status, owner, value: as the CRM told them last.
        told_by: who wrote that there, at ``told_at``.
    """

    business_id: str
    target_id: str
    lead_id: str
    record_id: str
    revision: int
    verified_revision: int
    verified_at: datetime | None
    status: str
    owner: SealedText
    value: str
    told_by: SealedText
    told_at: datetime | None
