"""A target: a CRM that a business has linked, with the mapping of its fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from contatto.crm.model.comparisons import Comparison
from contatto.crm.model.operations import CrmField


class TargetState(StrEnum):
    """Whether leads go to a target. While it is not active they queue, and go there by themselves later.

    Disconnected means that the CRM lets us in no more: a person has to connect it again.
    """

    ACTIVE = "active"
    PAUSED = "paused"
    DISCONNECTED = "disconnected"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class MappedField:
    """One row of a mapping: what we know of a lead → a field of the CRM.

    Attributes:
        source: the name of what we know, such as ``email`` or ``answer:Budget``.
        target: the CRM's own name of its field.
        words: our word → the CRM's value, for fields with choices; others go as they are.
    """

    source: str
    target: str
    words: tuple[tuple[str, str], ...] = ()


class Sweep(StrEnum):
    """Going through all leads of a business: those that were never due at a target, or every one."""

    NONE = "none"
    MISSING = "missing"
    ALL = "all"


class Weakness(StrEnum):
    """What is wrong with a row of a mapping, held against the CRM's own description."""

    NO_FIELD = "no_field"
    NO_CHOICE = "no_choice"
    NOT_MAPPED = "not_mapped"


@dataclass(frozen=True, slots=True)
class MappingFault:
    """A row of the mapping that the CRM cannot take: its field, or a value of it, is not there.

    ``value`` is ours, for ``NO_CHOICE``; ``NOT_MAPPED`` is a field that the CRM requires and nothing fills.
    """

    field: str
    weakness: Weakness
    value: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A linked CRM.

    Attributes:
        number: a short name in lines of outbound requests and in metrics.
        connector: the name of its connector.
        address: where it is.
        settings: what a person gave that is no secret.
        secrets: tokens and passwords; sealed in its row.
        secrets_revision: counts changes of the secrets, so that two who renew do so once.
        mapping: what goes where.
        statuses: the CRM's word for a state → the name of our status; other words bring none.
        described: its fields when it described itself last, at ``described_at``.
        faults: what was wrong with the mapping then.
        reason: why it is not active, as a code.
        comparison: what came of comparing its records with ours last.
        sweep: which leads are still to be made due, after the one with the id ``sweep_after``.
    """

    id: str
    number: int
    business_id: str
    connector: str
    name: str
    state: TargetState
    address: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    secrets_revision: int
    mapping: tuple[MappedField, ...]
    statuses: Mapping[str, str]
    described: tuple[CrmField, ...]
    described_at: datetime | None
    faults: tuple[MappingFault, ...]
    reason: str
    created_at: datetime
    verified_at: datetime | None = None
    comparison: Comparison | None = None
    sweep: Sweep = Sweep.NONE
    sweep_after: str = ""

    @property
    def is_active(self) -> bool:
        return self.state is TargetState.ACTIVE
