"""Values of CRM sync: operations and replies of connectors, targets, deliveries and trials.

A connector is two pure functions and its traits. The engine (``rules`` and ``actions``) gives it an
operation, sends the request that ``ask`` returns, and passes the answer to ``read``. The engine alone decides
which operation follows:

    find by our id → read the stored id → find by e-mail or phone → write → read back

The engine renews a token after ``Expired``, takes the id of ``Exists``, and follows ``Moved``. It writes a
deleted record anew. After ``FieldGone`` or ``ValueGone`` it moves the value into the note. It retries after
``NotNow``, and makes a dead letter of ``Failed``. After a lost answer the sequence starts again: the
record that was written is found by our id, so a connector remembers nothing.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Protocol

from contatto.integrations.model import DeliveryState, Denied, ErasureState, LedgerEntry, TrialState
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow, retry_after_s
from contatto.kit.values import SealedIn
from contatto.leads.model import LeadStatus

type Values = Mapping[str, str]
"""Texts by the CRM's names of its fields."""


@dataclass(frozen=True, slots=True)
class CrmLink:
    """Address, settings and secrets of one CRM.

    Attributes:
        address: without a slash at its end, such as ``https://crm.example.com``.
        settings: entries by name that are not secret, such as the name of a database.
        secrets: tokens and passwords by name, those of ``SecretsRenewed`` too.
        now: the time for signatures and expiry.
    """

    address: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    now: datetime


class FindBy(StrEnum):
    """Ways to find a record; the connector's traits name their order."""

    EXTERNAL_ID = "external_id"
    EMAIL = "email"
    PHONE = "phone"


@dataclass(frozen=True, slots=True)
class RenewSecrets:
    """Get an access token or session. Reply: ``SecretsRenewed``, or ``Denied`` for good.

    With a code these are the first tokens, after a person granted access by OAuth.
    """

    code: str = field(default="", repr=False)
    redirect_uri: str = ""
    verifier: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DescribeFields:
    """List the fields of the CRM. Reply: ``FieldsDescribed``."""


@dataclass(frozen=True, slots=True)
class FindRecord:
    """Find the record of a lead. Reply: ``FoundRecords`` or ``NoRecord``."""

    by: FindBy
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """Read a record. Reply: ``FoundRecords``, ``NoRecord``, or ``Moved`` to the record that it became.

    ``fields`` are those that the engine compares; some CRMs return only requested fields.
    """

    record_id: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """Write a lead. Reply: ``Written``.

    Attributes:
        record_id: the record to change; None to create one. A CRM with an upsert by our id uses it then, so
            that a retry creates no second record.
        external_id: our id of the lead, which the record has to carry.
        revision: counts the changes of the lead; with the external id the idempotency key of this write.
        values: a field without an entry keeps its value; an empty text clears it.
        note: the values without a field, as lines of text.
        wrong: values that members marked wrong, by field, for a CRM with several values in a field.
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
    """Merge two records. Reply: ``Written``, or ``NoRecord`` for a deleted one."""

    record_id: str
    into_id: str


@dataclass(frozen=True, slots=True)
class EraseRecord:
    """Erase a record for good. Reply: ``Erased``, or ``NoRecord`` for a deleted one."""

    record_id: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """The end of the changes that were read: a time, and the ids of that very time; empty at first."""

    at: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ListChanges:
    """List the changes after a cursor, oldest first. Reply: ``ChangesListed``."""

    after: Cursor


@dataclass(frozen=True, slots=True)
class ListRecords:
    """List the records with our id, after a cursor that is empty at first. Reply: ``RecordsListed``."""

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


@dataclass(frozen=True, slots=True)
class CrmField:
    """A field as the CRM describes it.

    ``choices`` are values with their labels; ``limit`` is the most characters, 0 for any number.
    """

    name: str
    label: str
    is_required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    limit: int = 0


@dataclass(frozen=True, slots=True)
class CrmRecord:
    """A record as it was read.

    Attributes:
        id: the CRM's own id.
        external_id: our id, if the record carries one.
        values: the fields that were read, at least those that the engine compares.
    """

    id: str
    external_id: str = ""
    values: Values = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A person's change of a record, in the CRM's own words.

    Attributes:
        external_id: our id, if the change has it.
        cursor: the position among the changes.
        status: the CRM's word for the state; None without a report of it, as for owner and value.
        owner: the owner's e-mail address, or name.
        value: a decimal number with its currency, such as ``120.50 EUR``.
        by: the author of the last change, if the CRM names one.
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


# --- Replies of success.


@dataclass(frozen=True, slots=True)
class SecretsRenewed:
    """Secrets that replace those of the same names, and the host of this customer, if named."""

    secrets: Mapping[str, str] = field(repr=False)
    address: str = ""


@dataclass(frozen=True, slots=True)
class FieldsDescribed:
    """All writable fields of a lead."""

    fields: tuple[CrmField, ...]


@dataclass(frozen=True, slots=True)
class FoundRecords:
    """Matching records, the oldest first."""

    records: tuple[CrmRecord, ...]


@dataclass(frozen=True, slots=True)
class NoRecord:
    """Reply without a matching record."""


@dataclass(frozen=True, slots=True)
class Written:
    """Success of a write; ``record_id`` is empty for a CRM without ids of its own."""

    record_id: str = ""


@dataclass(frozen=True, slots=True)
class Erased:
    """Success of an erasure; ``is_partial`` where the CRM itself keeps something."""

    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class ChangesListed:
    """Changes after the cursor, oldest first; ``is_more`` where the next page follows at once."""

    changes: tuple[RecordChange, ...]
    cursor: Cursor
    is_more: bool = False


@dataclass(frozen=True, slots=True)
class RecordsListed:
    """Pairs of the CRM's id and our id, one per record of a page.

    ``after`` is the cursor of the next page, and empty after the last one.
    """

    records: tuple[tuple[str, str], ...]
    after: str = ""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """The next request of the operation; its answer comes with ``memory``, a value of JSON."""

    request: HttpRequest
    memory: Any = field(default="", repr=False)


# --- Replies of failure, besides ``NotNow``, ``Failed`` and ``Denied``. A reason is a code of small letters,
# never a text of the CRM.


@dataclass(frozen=True, slots=True)
class Expired:
    """An expired token or session; the engine renews it once, and repeats the operation."""


@dataclass(frozen=True, slots=True)
class Exists:
    """An existing record of the same person; its id, if the answer names it."""

    record_id: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """The successor of a record that was merged or converted."""

    record_id: str


@dataclass(frozen=True, slots=True)
class FieldGone:
    """A field of the mapping that is missing or not writable; empty where the answer names none."""

    field: str = ""


@dataclass(frozen=True, slots=True)
class ValueGone:
    """A value that a field does not accept."""

    field: str = ""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An operation that the CRM does not have."""


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
    | NotNow
    | Expired
    | Denied
    | Exists
    | Moved
    | FieldGone
    | ValueGone
    | Failed
    | Unsupported
)


BUSY: Final = frozenset({408, 409, 423, 425, 429})
"""Statuses below 500 that are worth another try."""


def plain_reply(answer: HttpAnswer) -> Reply | None:
    """Return the meaning of a status for every CRM; None for 2xx, which the connector reads.

    A connector first looks for a more exact reason: an existing record, a missing field, a wrong value.
    Source: RFC 9110, 15; RFC 6585, 4 (429); RFC 8470, 5.2 (425).
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    if status >= 500 or status in BUSY:
        return NotNow(str(status), retry_after_s(answer))
    if status == 401:
        return Expired()
    if status in (402, 403, 410):
        return Denied(str(status))
    return NotNow(str(status)) if status < 400 else Failed(str(status))


APP_SECRET: Final = "client_secret"  # noqa: S105  # a name
"""The secret of an app, which alone gives no access."""
TOKENS: Final = ("access_token", "refresh_token")
"""Tokens of a vendor after a person's consent."""


@dataclass(frozen=True, slots=True)
class ConnectorSetting:
    """An entry of the form that connects a CRM.

    A secret is ASCII without blanks, unless it ``is_password``. With a ``prefix`` it is that prefix and a key
    in base64, and the form offers a new one. ``label`` and ``help`` are English, and marked for translation.
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
    """Addresses and scopes of a vendor's OAuth server.

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
    """Token servers that the vendor may name for a customer when it returns the person."""


@dataclass(frozen=True, slots=True)
class ConnectorTraits:
    """Abilities of a connector, so that engine and pages need no case for any CRM.

    Attributes:
        name: kept in rows; it must never change.
        address: the same for all customers; empty where the form has it.
        finds_by: ways to find a record, in their order.
        defaults: the first mapping: our field, the CRM's field.
        describes: whether ``DescribeFields`` works.
        reads_back: whether ``ReadRecord`` works. If not, a delivery ends as sent, and is never verified.
        upserts: whether a write without a record id creates one record per external id.
        merges: whether ``MergeRecords`` works.
        erases: whether ``EraseRecord`` works.
        tells_changes: whether ``ListChanges`` works.
        enumerates: whether ``ListRecords`` works, and lists the record of every lead.
        poll_s: seconds between two polls of changes.
        search_lag_s: seconds until a new record is found. Where a retry would create a second record, the
            engine waits that long.
        takes_anything: whether any field may be written, such as to a webhook.
        record_page: the page of a record, with ``address``, ``record_id`` and settings in braces.
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
    erases: bool = True
    tells_changes: bool = False
    enumerates: bool = False
    poll_s: float = 60.0
    search_lag_s: float = 0.0
    takes_anything: bool = False
    record_page: str = ""
    oauth: OAuth | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the secrets that give access without consent at the vendor."""
        return tuple(
            setting.name for setting in self.settings if setting.is_secret and setting.name != APP_SECRET
        )


class CrmConnector(Protocol):
    """Encodes and decodes the requests of one CRM, without state, clock or socket."""

    traits: ClassVar[ConnectorTraits]

    def ask(self, link: CrmLink, operation: Operation) -> HttpRequest | Reply:
        """Return the first request of an operation, or at once a reply such as ``Unsupported``.

        Without a session the reply is ``Expired``: the engine renews, and repeats the operation.
        """
        ...

    def read(self, link: CrmLink, operation: Operation, answer: HttpAnswer, memory: Any) -> Reply:
        """Return the meaning of an answer; it never raises, whatever the bytes.

        Args:
            link: as for ``ask``.
            operation: as for ``ask``.
            answer: at most 256 KiB.
            memory: of the ``FollowUp`` that was answered; empty for the first request.
        """
        ...

    def record_url(self, link: CrmLink, record_id: str) -> str:
        """Return the page of a record in the CRM; empty without one."""
        ...

    def is_same_value(self, field: str, written: str, current: str) -> bool:
        """Compare a written value with the one that was read, in the CRM's own spelling."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished comparison of a CRM with our ledger.

    Attributes:
        started_at: records that were verified later are not in it.
        held: records with our ids.
        sent_again: verified leads without a record, which were sent again.
        left_gone: missing leads that were sent again before, so people there delete them.
        doubled: records with the id of another record.
        unknown: records with an unknown id of ours.
        erased_again: records of erased people, which are erased again.
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
        """Return whether a person should look; deletions in the CRM are no difference."""
        return bool(self.sent_again or self.doubled or self.unknown or self.erased_again)


class TargetState(StrEnum):
    """States of a target; leads queue unless it is active.

    A disconnected target refuses access, until a person connects it again.
    """

    ACTIVE = "active"
    PAUSED = "paused"
    DISCONNECTED = "disconnected"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class MappedField:
    """A row of a mapping, from a source to a field of the CRM.

    Attributes:
        source: such as ``email`` or ``answer:Budget``.
        target: the CRM's name of its field.
        words: pairs of our word and the CRM's, for fields with choices; other words stay unchanged.
    """

    source: str
    target: str
    words: tuple[tuple[str, str], ...] = ()


class Sweep(StrEnum):
    """Leads that a target still has to get: those that were never due, or all."""

    NONE = "none"
    MISSING = "missing"
    ALL = "all"


class Weakness(StrEnum):
    """Kinds of faults of a row of a mapping."""

    NO_FIELD = "no_field"
    NO_CHOICE = "no_choice"
    NOT_MAPPED = "not_mapped"


@dataclass(frozen=True, slots=True)
class MappingFault:
    """A fault of a mapping, found by the CRM's description of its fields.

    ``value`` is our word, for ``NO_CHOICE``; ``NOT_MAPPED`` is a required field without a source.
    """

    field: str
    weakness: Weakness
    value: str = ""


@dataclass(frozen=True, slots=True)
class LiveTarget:
    """Columns of a target that scheduling needs.

    ``number`` is its short name in commands, metrics and the queue of requests.
    """

    id: str
    business_id: str
    number: int
    state: TargetState
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(LiveTarget):
    """A linked CRM.

    Attributes:
        connector: the name of its connector.
        secrets: tokens and passwords; sealed in the row.
        secrets_revision: counts changes of the secrets, so that concurrent renewals happen once.
        statuses: our status by the CRM's word for a state.
        described: its fields at ``described_at``, with the ``faults`` of the mapping then.
        reason: the code why it is not active.
        sweep: leads that are still to be scheduled, after the id ``sweep_after``.
    """

    connector: str
    name: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    mapping: tuple[MappedField, ...]
    reason: str
    created_at: datetime
    secrets_revision: int = 0
    statuses: Mapping[str, str] = field(default_factory=dict)
    described: tuple[CrmField, ...] = ()
    described_at: datetime | None = None
    faults: tuple[MappingFault, ...] = ()
    verified_at: datetime | None = None
    comparison: Comparison | None = None
    sweep: Sweep = Sweep.NONE
    sweep_after: str = ""

    @property
    def is_active(self) -> bool:
        return self.state is TargetState.ACTIVE


@dataclass(frozen=True, slots=True)
class Delivery(LedgerEntry):
    """One revision of a lead for one target, which sends all current values of the lead.

    So a later revision that arrives settles the earlier ones. ``edited`` are values of a member in the place
    of the mapped ones, as JSON.
    """

    target_id: str
    lead_id: str
    revision: int
    edited: Annotated[str, SealedIn("crm_deliveries.edited", ("target_id", "lead_id", "revision"))]
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class CrmProgressed:
    """Event of a new state of a delivery, or of the connection where ``lead_id`` is empty."""

    business_id: str
    target_id: str
    lead_id: str


@dataclass(frozen=True, slots=True)
class RecordLink:
    """A lead's record in a target.

    Attributes:
        record_id: the CRM's id, if known.
        revision: the latest of the lead for this target, with its ``state``.
        verified_at: the last time that a revision was read back.
        merged_into: the lead that this one was merged into.
        told_by: the author of status, owner and value in the CRM, at ``told_at``.
        seen_at: the last comparison that saw the record.
        gone_at: the comparison that missed it and sent the lead again, which happens once.
    """

    business_id: str
    target_id: str
    lead_id: str
    record_id: str
    revision: int
    state: DeliveryState
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
        """Return the ids of records that may be the lead's, its own first."""
        links = [self.own, *self.merged] if self.own else self.merged
        return tuple(dict.fromkeys(link.record_id for link in links if link.record_id))


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure of a person in a target; ``record_id`` is the person's record, if known."""

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
    """The values that a delivery writes, fixed from its begin to its end.

    Attributes:
        external_id: our id of the lead.
        former_ids: leads that were merged into it; a record may carry one of their ids.
        values: by the CRM's names of its fields.
        note: values without a field.
        email, phone: contact details to find the record.
        occurred_at: in ISO 8601.
        sources: the source of each field, for the note if the field is missing.
        wrong: values that members marked wrong, by field: the record must not keep them.
        stand_ins: values of required fields of a new record for which the lead has none.
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
    """A field of the CRM in a trial: the current value, and the one that a delivery would write.

    ``agrees`` means that both are the same to the CRM.
    """

    field: str
    source: str
    before: str = dataclasses.field(repr=False)
    after: str = dataclasses.field(repr=False)
    agrees: bool


@dataclass(frozen=True, slots=True)
class EventSet:
    """A CRM event set of an ad account; ``number`` is the API's ``event_set_id``."""

    id: str
    business_id: str
    number: int
    ad_account_id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LeadEvent:
    """An event of a lead in a CRM; a second one with the same ``natural_key`` is a duplicate."""

    id: str
    business_id: str
    lead_id: str
    set_number: int
    name: Annotated[str, SealedIn("lead_events.name")]
    natural_key: str
    status: LeadStatus | None
    occurred_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class TrialResult:
    """Result of a trial: the record (empty for a new one), its fields, and the note."""

    record_id: str
    rows: tuple[TrialRow, ...]
    note: str = field(repr=False)
