"""Values of CRM sync: operations and replies of connectors, targets, deliveries and trials.

A connector is two pure functions and its traits. The engine gives it an operation, sends the request that
``ask`` makes of it, and passes the answer to ``read``. The engine alone decides which operation follows:

    find by our id → read the stored id → find by e-mail or phone → write → read back

The engine renews a token after ``Expired``, takes the id of ``Exists``, and follows ``Moved``. It writes a
deleted record anew. After ``FieldGone`` or ``ValueGone`` it moves the value into the note. It retries after
``RetryLater``, and makes a dead letter of ``Rejected``. After a lost answer the sequence starts again: the
record that was written is found by our id, so a connector remembers nothing.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Protocol

from contatto.kit.i18n import SealedIn
from contatto.kit.outbound.model import HttpAnswer, HttpRequest

type Values = Mapping[str, str]
"""Values as texts, by the CRM's own names of its fields."""


@dataclass(frozen=True, slots=True)
class CrmLink:
    """What a connector needs to speak to one CRM.

    Attributes:
        address: where it is, such as ``https://crm.example.com``, without a slash at its end.
        settings: what a person gave that is no secret, such as the name of a database, by names.
        secrets: tokens and passwords by names; what ``SecretsRenewed`` gave stands here too.
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
class RenewSecrets:
    """Get an access token or session. Reply: ``SecretsRenewed``, or ``Denied`` when it is over for good.

    With a code it is the first one, right after a person allowed us in (OAuth); else a fresh one.
    """

    code: str = field(default="", repr=False)
    redirect_uri: str = ""
    verifier: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DescribeFields:
    """Which fields does the CRM have? Reply: ``FieldsDescribed``."""


@dataclass(frozen=True, slots=True)
class FindRecord:
    """Look for the record of a lead. Reply: ``FoundRecords`` or ``NoRecord``."""

    by: FindBy
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """Read a record. Reply: ``FoundRecords``, ``NoRecord``, or ``Moved`` to the record that it became.

    ``fields`` are those that the engine will compare; some CRMs give only what is asked for by name.
    """

    record_id: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteRecord:
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
class MergeRecords:
    """Make one record of two, as the leads are one. Reply: ``Written``, ``NoRecord`` when it was gone."""

    record_id: str
    into_id: str


@dataclass(frozen=True, slots=True)
class EraseRecord:
    """Erase a record for good. Reply: ``Erased``, or ``NoRecord`` when it was gone."""

    record_id: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to where changes were read: a time, and ids at that very time; empty at the beginning."""

    at: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ListChanges:
    """What changed after a cursor, oldest first? Reply: ``ChangesListed``."""

    after: Cursor


@dataclass(frozen=True, slots=True)
class ListRecords:
    """Which records carry our id, after a place; empty for the beginning? Reply: ``RecordsListed``."""

    after: str = ""


type Operation = (
    RenewSecrets
    | DescribeFields
    | FindRecord
    | ReadRecord
    | WriteRecord
    | MergeRecords
    | EraseRecord
    | ListChanges
    | ListRecords
)


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
class SecretsRenewed:
    """Secrets that replace those of the same names; ``address`` where the CRM names the host that is ours."""

    secrets: Mapping[str, str] = field(repr=False)
    address: str = ""


@dataclass(frozen=True, slots=True)
class FieldsDescribed:
    """All fields that a lead may be written to."""

    fields: tuple[CrmField, ...]


@dataclass(frozen=True, slots=True)
class FoundRecords:
    """The record, the oldest first where several match."""

    records: tuple[CrmRecord, ...]


@dataclass(frozen=True, slots=True)
class NoRecord:
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
class ChangesListed:
    """Changes after the cursor, oldest first; ``is_more`` when the next page is to be asked for at once."""

    changes: tuple[RecordChange, ...]
    cursor: Cursor
    is_more: bool = False


@dataclass(frozen=True, slots=True)
class RecordsListed:
    """Our ids in the records of one page, as often as they stand there, by the CRM's ids.

    ``after`` is where the next page begins; empty when this was the last one.
    """

    records: tuple[tuple[str, str], ...]
    after: str = ""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """The operation goes on with this request; ``memory`` is given back with its answer."""

    request: HttpRequest
    memory: str = field(default="", repr=False)


# --- Replies: it did not, and why. ``reason`` is a code of small letters, never a text of the CRM.


@dataclass(frozen=True, slots=True)
class RetryLater:
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
class Unsubscribed:
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
class Rejected:
    """Not taken, and no repeat will change that: a dead letter."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsupported:
    """This CRM cannot do that."""


type Reply = (
    SecretsRenewed
    | FieldsDescribed
    | FoundRecords
    | NoRecord
    | Written
    | Erased
    | ChangesListed
    | RecordsListed
    | FollowUp
    | RetryLater
    | Expired
    | Denied
    | Unsubscribed
    | Exists
    | Moved
    | FieldGone
    | ValueGone
    | Rejected
    | Unsupported
)


class ErasureLevel(StrEnum):
    """How far a CRM can erase a person for good."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


APP_SECRET: Final = "client_secret"  # noqa: S105  # a name
"""The secret of an app; it lets nobody in by itself."""
TOKENS: Final = ("access_token", "refresh_token")
"""What a vendor gives us once somebody has consented."""


@dataclass(frozen=True, slots=True)
class ConnectorSetting:
    """Something that a person gives to connect a CRM.

    A secret is a text of ASCII without blanks, as programs make them, unless it ``is_password``. One with a
    ``prefix`` is that prefix and base64; who has none yet is offered one.
    ``label``, and ``help`` on where to find it, are English and marked for translation.
    """

    name: str
    label: str
    is_secret: bool = False
    is_required: bool = True
    example: str = ""
    default: str = ""
    help: str = ""
    is_password: bool = False
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class OAuth:
    """Where a vendor lets a person allow us in.

    The setting ``client_id`` and the secret ``client_secret`` (``APP_SECRET``) belong to it; ``extra`` are
    further parameters of the authorisation address.
    Source: RFC 6749, 4.1 (authorization code), 6 (refresh).
    """

    authorise_url: str
    token_url: str
    scopes: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    is_pkce: bool = True
    servers: tuple[str, ...] = ()
    """Others that may give the tokens of a customer, where the vendor names one as it sends a person back."""


@dataclass(frozen=True, slots=True)
class ConnectorTraits:
    """What one CRM can do.

    Attributes:
        name: kept in rows; it must never change.
        label: as the vendor writes it.
        address: where it is if it is the same for everybody; empty when a person gives it.
        settings: what a person gives.
        finds_by: ways to look for a record, in the order in which they are tried.
        defaults: the mapping to begin with: our field → the CRM's field.
        describes: whether ``DescribeFields`` works.
        reads_back: whether ``ReadRecord`` works. If not, a delivery ends as sent, and is never verified.
        upserts: whether a write without a record id makes no second record for the same external id.
        merges: whether ``MergeRecords`` works.
        erases: how far ``EraseRecord`` goes.
        tells_changes: whether ``ListChanges`` works.
        enumerates: whether ``ListRecords`` works, and tells of every record that a lead was brought to.
        poll_s: seconds between two polls of changes.
        search_lag_s: how long a record that was made may not be found; the engine waits that long before
            it looks for one that was perhaps made, where a repeat would make a second.
        takes_anything: any field may be written, such as to a webhook.
        oauth: if people connect it that way.
    """

    name: str
    label: str
    address: str = ""
    settings: tuple[ConnectorSetting, ...] = ()
    finds_by: tuple[FindBy, ...] = (FindBy.EXTERNAL_ID, FindBy.EMAIL, FindBy.PHONE)
    defaults: tuple[tuple[str, str], ...] = ()
    describes: bool = True
    reads_back: bool = True
    upserts: bool = False
    merges: bool = False
    erases: ErasureLevel = ErasureLevel.FULL
    tells_changes: bool = False
    enumerates: bool = False
    poll_s: float = 60.0
    search_lag_s: float = 0.0
    takes_anything: bool = False
    oauth: OAuth | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Secrets that let us in by themselves, without consent at the vendor's; any of them does."""
        return tuple(
            setting.name for setting in self.settings if setting.is_secret and setting.name != APP_SECRET
        )


class CrmConnector(Protocol):
    """Speaks the language of one CRM. It keeps no state, reads no clock, opens no socket."""

    @property
    def traits(self) -> ConnectorTraits: ...

    def ask(self, link: CrmLink, operation: Operation) -> HttpRequest | Reply:
        """The first request of an operation; or at once the reply, such as ``Unsupported``.

        ``Expired`` where the secrets hold no session yet: the engine renews, and asks again.
        """
        ...

    def read(self, link: CrmLink, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        """What an answer means, whatever the bytes: it never raises.

        Args:
            link: as it was given to ``ask``.
            operation: what was asked.
            answer: at most 256 KiB of it.
            memory: of the ``FollowUp`` that was answered; empty for the first request.
        """
        ...

    def record_url(self, link: CrmLink, record_id: str) -> str:
        """Return where a person sees the record in the CRM; empty if nowhere."""
        ...

    def agrees(self, field: str, written: str, found: str) -> bool:
        """Whether a field that was read back says what was written, in the CRM's own spelling of it."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a CRM with our ledger, as it ended.

    Attributes:
        started_at: what was verified later is not in it.
        held: records there that carry an id of ours.
        sent_again: leads that had been verified and were not there: they go there again.
        left_gone: leads that were not there, and had been sent again for that before: somebody there wants
            them gone.
        doubled: records that carry the id of another record.
        unknown: records with an id of ours that we do not know.
        erased_again: records of people who are to be erased, and are there again: they are erased once more.
    """

    started_at: datetime
    ended_at: datetime
    held: int = 0
    sent_again: int = 0
    left_gone: int = 0
    doubled: int = 0
    unknown: int = 0
    erased_again: int = 0

    @property
    def differs(self) -> bool:
        """Return whether a person should look: what somebody there wants gone is no difference."""
        return bool(self.sent_again or self.doubled or self.unknown or self.erased_again)


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


class TrialState(StrEnum):
    """How far a trial is; one that failed says why, one that is asked may do so too: it is tried again."""

    ASKED = "asked"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Trial:
    """The latest trial of a target; ``found`` is a ``TrialResult`` as JSON."""

    business_id: str
    target_id: str
    lead_id: str
    state: TrialState
    reason: str
    found: Annotated[str, SealedIn("crm_trials.found", ("target_id",))]
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One field of the CRM: what is there, and what would be.

    Attributes:
        field: the CRM's own name.
        source: what it is made of.
        before: what is there; empty in a new record.
        after: what would be written.
        agrees: whether both say the same, so nothing would change.
    """

    field: str
    source: str
    before: str = dataclasses.field(repr=False)
    after: str = dataclasses.field(repr=False)
    agrees: bool


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What would happen: to which record (empty for a new one), in which fields, and to the note."""

    record_id: str
    rows: tuple[TrialRow, ...]
    note: str = field(repr=False)
