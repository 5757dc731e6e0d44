"""What is asked of a CRM, and what its answer means, as values; connectors turn them into requests and back.

An operation is one question or one change. Most take one request; a connector that needs more gives
``Onward`` for the next. The engine decides which operation follows which, and repeats one after a lost
answer: so a connector never has to remember anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from contatto.kit.outbound.model import HttpRequest

type Values = Mapping[str, str]
"""Values as texts, by the CRM's own names of its fields."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a connector needs to speak to one CRM.

    Attributes:
        address: where it is, such as ``https://crm.example.com``, without a slash at its end.
        settings: what a person gave that is no secret, such as the name of a database, by names.
        secrets: tokens and passwords by names; what ``Renewed`` gave stands here too.
        now: for signatures and expiry.
    """

    address: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    now: datetime


class FindBy(StrEnum):
    """How a record is looked for. The engine asks in the order that the connector's traits name."""

    EXTERNAL_ID = "external_id"
    EMAIL = "email"
    PHONE = "phone"


@dataclass(frozen=True, slots=True)
class Renew:
    """Get an access token or session. Reply: ``Renewed``, or ``Denied`` when it is over for good.

    With a code it is the first one, right after a person allowed us in (OAuth); else a fresh one.
    """

    code: str = field(default="", repr=False)
    redirect_uri: str = ""
    verifier: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Describe:
    """Which fields does the CRM have? Reply: ``Described``."""


@dataclass(frozen=True, slots=True)
class Find:
    """Look for the record of a lead. Reply: ``Found`` or ``Nothing``."""

    by: FindBy
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Read:
    """Read a record. Reply: ``Found``, ``Nothing`` when it is not there, ``Moved`` to where it is now.

    ``fields`` are those that the engine will compare; some CRMs give only what is asked for by name.
    """

    record_id: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """Write a lead. Reply: ``Written``.

    Attributes:
        record_id: the record to change; None to make one. A CRM that has an upsert by our id uses that to
            make one, so that a repeat makes no second.
        external_id: our own id of the lead, which the record has to carry.
        revision: counts the changes of the lead; with the external id the idempotency key of this write.
        values: what the mapping made for the CRM's fields. A field that is not named stays as it is; an
            empty text clears it.
        note: what has no field, as lines of text; empty for nothing.
        occurred_at: when the lead changed.
        wrong: values that members marked wrong, by fields, for a CRM that keeps several in one field.
    """

    record_id: str | None
    external_id: str
    revision: int
    values: Values = field(repr=False)
    note: str = field(repr=False)
    occurred_at: datetime
    wrong: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Merge:
    """Make one record of two, as the leads are one. Reply: ``Written``, ``Nothing`` when it was gone."""

    record_id: str
    into_id: str


@dataclass(frozen=True, slots=True)
class Erase:
    """Erase a record for good. Reply: ``Erased``, or ``Nothing`` when it was gone."""

    record_id: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to where changes were read: a time, and ids at that very time; empty at the beginning."""

    at: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed after a cursor, oldest first? Reply: ``Changed``."""

    after: Cursor


@dataclass(frozen=True, slots=True)
class Enumerate:
    """Which records carry our id, after a place; empty for the beginning? Reply: ``Enumerated``."""

    after: str = ""


type Operation = Renew | Describe | Find | Read | Write | Merge | Erase | Changes | Enumerate


class FieldKind(StrEnum):
    """What a field of a CRM holds, as far as the mapping cares."""

    TEXT = "text"
    EMAIL = "email"
    PHONE = "phone"
    CHOICE = "choice"
    NUMBER = "number"
    TIME = "time"
    BOOL = "bool"


@dataclass(frozen=True, slots=True)
class CrmField:
    """A field as the CRM describes it.

    ``choices`` are values with their labels; ``limit`` is the most characters, 0 for any number.
    """

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    is_required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    limit: int = 0


@dataclass(frozen=True, slots=True)
class CrmRecord:
    """A record as it was read.

    Attributes:
        id: the CRM's own id.
        external_id: our id, if it carries one.
        values: its fields, as far as they were read; those that the engine compares are those it wrote.
        changed_at: when it was changed last, as the CRM says it; empty if it does not.
    """

    id: str
    external_id: str = ""
    values: Values = field(default_factory=dict, repr=False)
    changed_at: str = ""


@dataclass(frozen=True, slots=True)
class RecordChange:
    """Something that people did to a record in the CRM, in the CRM's own words.

    Attributes:
        record_id: of which record.
        external_id: our id, if it is known.
        cursor: where it stands among the changes.
        status: the word of the CRM for its state; None when that is not told. The same for the others.
        owner: the e-mail address of who has it, or their name.
        value: what it is worth, as a decimal number with its currency, such as ``120.50 EUR``.
        by: who changed it last, if the CRM says so.
        is_gone: whether it was deleted.
        moved_to: the record that it was merged into or converted to.
    """

    record_id: str
    cursor: Cursor
    external_id: str = ""
    status: str | None = None
    owner: str | None = field(default=None, repr=False)
    value: str | None = None
    by: str = field(default="", repr=False)
    is_gone: bool = False
    moved_to: str = ""


# --- Replies: it went well.


@dataclass(frozen=True, slots=True)
class Renewed:
    """Secrets that replace those of the same names; ``address`` where the CRM names the host that is ours."""

    secrets: Mapping[str, str] = field(repr=False)
    address: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """All fields that a lead may be written to."""

    fields: tuple[CrmField, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The record, the oldest first where several match."""

    records: tuple[CrmRecord, ...]


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is no such record."""


@dataclass(frozen=True, slots=True)
class Written:
    """The CRM took it; ``record_id`` is empty where it has no ids of its own."""

    record_id: str = ""


@dataclass(frozen=True, slots=True)
class Erased:
    """The CRM erased it; ``is_partial`` when something of it stays there, by the CRM's own word."""

    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """Changes after the cursor, oldest first; ``is_more`` when the next page is to be asked for at once."""

    changes: tuple[RecordChange, ...]
    cursor: Cursor
    is_more: bool = False


@dataclass(frozen=True, slots=True)
class Enumerated:
    """Our ids in the records of one page, as often as they stand there, by the CRM's ids.

    ``after`` is where the next page begins; empty when this was the last one.
    """

    records: tuple[tuple[str, str], ...]
    after: str = ""


@dataclass(frozen=True, slots=True)
class Onward:
    """The operation goes on with this request; ``memory`` is given back with its answer."""

    request: HttpRequest
    memory: str = field(default="", repr=False)


# --- Replies: it did not, and why. ``reason`` is a code of small letters, never a text of the CRM.


@dataclass(frozen=True, slots=True)
class Later:
    """Worth another try: throttled, down, busy, or an answer that makes no sense."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """The access token or session is over; the engine asks to renew it, once, and repeats the operation."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The CRM lets us in no more, or not there: a person has to connect it again. Leads keep queueing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The other side wants nothing more, such as 410 of a hook. Leads keep queueing until it is removed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Exists:
    """A record of the same person is there; its id, if the answer names it."""

    record_id: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """The record was merged into another, or converted: this is the one that counts now."""

    record_id: str


@dataclass(frozen=True, slots=True)
class FieldGone:
    """A field of the mapping is not there any more, or may not be written; empty if it is not named."""

    field: str = ""


@dataclass(frozen=True, slots=True)
class ValueGone:
    """A value is none of those that a field takes, or does not fit into it."""

    field: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Not taken, and no repeat will change that: a dead letter."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsupported:
    """This CRM cannot do that."""


type Reply = (
    Renewed
    | Described
    | Found
    | Nothing
    | Written
    | Erased
    | Changed
    | Enumerated
    | Onward
    | Later
    | Expired
    | Denied
    | Ended
    | Exists
    | Moved
    | FieldGone
    | ValueGone
    | Refused
    | Unsupported
)
