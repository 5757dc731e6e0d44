"""Tables of incoming deliveries, persons, conversations, messages and inline notices."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from contatto.channels.model import Connector, MessageKind, Platform, ReceiptCounts, Sender
from contatto.inbox import model
from contatto.kit.db.database import Database
from contatto.kit.db.statements import PreparedQuery, Query, WorkBatcher, insert_new, write_rows
from contatto.kit.db.tx import (
    ROW,
    Choice,
    Instant,
    Serial,
    Tx,
    Words,
    insert_for,
    instant,
    key,
    metadata,
    only,
    rows_of,
    sealed,
    tenant,
    text,
    within,
)
from contatto.kit.fair_queue import Queue
from contatto.kit.vault import Vault, row_key
from contatto.leads.rules.records import name_key
from contatto.leads.store.records import list_leads_ever

_WAITS: Final[sa.ColumnElement[bool]] = sa.literal_column("state = 'received'")

receipts = sa.Table(
    "receipts",
    metadata,
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    sa.Column("platform", Choice(Platform), nullable=False),
    sa.Column("account", sa.String(128), nullable=False),
    sa.Column("natural_key", sa.String(300), nullable=False),
    sealed("body", nullable=True),
    sa.Column("copies", sa.Integer, nullable=False),
    sa.Column("state", Choice(model.ReceiptState), nullable=False),
    sa.Column("reason", sa.String(64)),
    sa.Column("attempts", sa.Integer, nullable=False),
    instant("received_at"),
    instant("due_at"),
    sa.UniqueConstraint("business_id", "platform", "natural_key"),
    sa.Index(
        "ix_receipts_waiting", "business_id", "due_at", "id", sqlite_where=_WAITS, postgresql_where=_WAITS
    ),
    info={ROW: ("platform", "natural_key")},
)

WAITING: Final = Queue(receipts, _WAITS, receipts.c.due_at)
"""Deliveries that are not settled yet."""


def receipt_row(
    vault: Vault, business_id: str, connector: Connector, raw: bytes, at: datetime
) -> dict[str, Any]:
    """Make the row of a delivery, its body sealed; an unprintable key is stored as its hash."""
    platform, label = connector.platform, connector.label(raw)
    natural = label.natural_key
    if not natural.isprintable():
        natural = f"text:{hashlib.sha256(natural.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return {
        "business_id": business_id,
        "platform": platform,
        "account": label.account if label.account.isprintable() else "",
        "natural_key": natural,
        "body": vault.seal_bytes(raw, business_id, "receipts.body", row_key(platform, natural)),
        "copies": 1,
        "state": model.ReceiptState.RECEIVED,
        "reason": None,
        "attempts": 0,
        "received_at": at,
        "due_at": at,
    }


def open_receipt(vault: Vault, receipt: model.Receipt) -> bytes:
    named = row_key(receipt.platform, receipt.natural_key)
    return vault.open_bytes(receipt.body or b"", receipt.business_id, "receipts.body", named)


APPEND_RECEIPT: Final[dict[str, Any]] = {
    dialect: insert_for(dialect, receipts).on_conflict_do_update(
        index_elements=["business_id", "platform", "natural_key"],
        set_={"copies": receipts.c.copies + sa.literal_column("1")},
    )
    for dialect in ("sqlite", "postgresql")
}
"""Insert of the hot path; a repeated delivery only increments ``copies``."""


MOST_WAITING: Final = 2_000
"""Deliveries that may wait before platforms are slowed down: a few full batches."""
LOOK_EVERY: Final = 256
"""Deliveries between two checks of the backlog."""
HOLD_S: Final = 0.1
"""Seconds by which a response is delayed, and between two checks, while the backlog is too large.

It is short, so that a stopped worker does not delay senders for long: stored deliveries are safe.
"""


def append_receipts(tx: Tx, new: Sequence[Callable[[], dict[str, Any]]]) -> list[None]:
    """Insert the rows that functions build; the result has None for each, as `WorkBatcher` expects."""
    write_rows(tx, APPEND_RECEIPT[tx.connection.dialect.name], [build() for build in new])
    return [None] * len(new)


class Backlog:
    """Backlog of unsettled deliveries: writer of new ones, which slows senders down while it is too large.

    Storing costs less than settling, so an endless sender would grow the backlog. A sender has a limited
    number of open requests, so it sends less when each response comes later.
    """

    def __init__(self, db: Database) -> None:
        self.receipts: Final = WorkBatcher(partial(db.write, is_hurried=False), append_receipts)
        self._db = db
        self._count = 0
        self._is_checking = False
        self._is_too_much = False
        self._until_s = 0.0
        self._next = asyncio.Event()

    async def hold(self) -> None:
        """Delay a delivery while the backlog is too large; the caller stores it afterwards in any case."""
        loop = asyncio.get_running_loop()
        self._count += 1
        is_time = loop.time() >= self._until_s if self._is_too_much else self._count >= LOOK_EVERY
        if is_time and not self._is_checking:
            self._is_checking = True
            try:
                self._is_too_much = await self._db.read(lambda tx: WAITING.has_many(tx, MOST_WAITING))
            finally:
                self._is_checking, self._count = False, 0
            self._until_s, self._next = loop.time() + HOLD_S, asyncio.Event()
            if self._is_too_much:
                loop.call_at(self._until_s, self._next.set)
        if self._is_too_much and self._until_s > loop.time():
            await self._next.wait()  # delayed deliveries continue together, and share a commit


WAIT: Final = timedelta(seconds=4)
"""A delivery that failed waits for 4 seconds from its arrival, then for 16, 36, 64…"""


def list_waiting_receipts(tx: Tx, business_id: str, limit: int) -> list[model.Receipt]:
    """List due deliveries of a business in order of arrival; for the worker only.

    Two workers never settle one account at once: they would wait for each other's rows.
    """
    if not tx.locks_rows:
        return WAITING.list(tx, model.Receipt, business_id, limit)
    # Lock accounts that no other worker has locked, the longest waiting first. The claim stops at a part of
    # a batch, so that other workers can take further accounts.
    values = WAITING.values(tx, business_id, limit)
    own_accounts, other_accounts = list[str](), list[str]()
    for _ in range(_SEARCHES):
        counts = Counter(tx.execute(_OTHER_ACCOUNTS, {**values, "theirs": other_accounts}).scalars())
        for account in counts:
            is_locked = bool(tx.execute(_TRY_LOCK, {"name": business_id + account}).scalar())
            (own_accounts if is_locked else other_accounts).append(account)
            if sum(counts[own] for own in own_accounts) > values["most"] // _SHARES:
                break
        if own_accounts or not counts:
            break  # little is waiting, or other workers have all accounts
    return tx.list(model.Receipt, _OF_ACCOUNTS, values | {"accounts": own_accounts}) if own_accounts else []


_SEARCHES: Final = 3
"""Searches for further accounts, after those that other workers have locked."""
_SHARES: Final = 4
"""A worker claims accounts until they fill more than this part of a batch: one in 4."""
_OTHER_ACCOUNTS: Final = WAITING.unlocked.where(~within(receipts.c.account, "theirs")).with_only_columns(
    receipts.c.account
)
_OF_ACCOUNTS: Final = WAITING.unlocked.where(within(receipts.c.account, "accounts"))
"""Deliveries of locked accounts; locking these rows too would write each of them once more."""
_TRY_LOCK: Final = sa.select(
    sa.func.pg_try_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("name", type_=sa.String()), 0))
)

_REFUSE: Final = (
    sa.update(receipts)
    .where(within(receipts.c.id, "ids"))
    .values(state=sa.bindparam("now_state"), reason=sa.bindparam("why"))
)
_SETTLE: Final = _REFUSE.values(body=sa.null())


ERASED: Final = "erased"
"""The reason of deliveries that are refused because their person is erased."""


def mark_receipts(
    tx: Tx, settled: Sequence[model.Receipt], state: model.ReceiptState, reason: str | None
) -> None:
    """Settle receipts. A refused one keeps its body for a replay, unless its person is erased."""
    is_kept = state is model.ReceiptState.REFUSED and reason != ERASED
    values = {"ids": [receipt.id for receipt in settled], "now_state": state, "why": reason}
    write_rows(tx, _REFUSE if is_kept else _SETTLE, [values])


def count_receipts(tx: Tx, business_id: str | None) -> ReceiptCounts:
    """Count the deliveries of a business, or of all: received = stored + merged + refused + waiting."""
    counted = sa.select(receipts.c.state, receipts.c.reason, sa.func.count(), sa.func.sum(receipts.c.copies))
    if business_id is not None:
        counted = counted.where(receipts.c.business_id == business_id)
    rows: list[Any] = list(tx.execute(counted.group_by(receipts.c.state, receipts.c.reason)))
    by_state = {state: sum(row[2] for row in rows if row[0] is state) for state in model.ReceiptState}
    copies = sum(int(row[3]) for row in rows)
    return ReceiptCounts(
        received=copies,
        stored=by_state[model.ReceiptState.STORED],
        merged=by_state[model.ReceiptState.MERGED] + copies - sum(by_state.values()),
        refused=by_state[model.ReceiptState.REFUSED],
        waiting=by_state[model.ReceiptState.RECEIVED],
        reasons={row[1] or "": row[2] for row in rows if row[0] is model.ReceiptState.REFUSED},
    )


persons = sa.Table(
    "persons",
    metadata,
    key(),
    tenant(),
    sa.Column("channel_account_id", sa.String(36), nullable=False),
    sa.Column("external_id", sa.String(128), nullable=False),
    sealed("name", nullable=True),
    text("name_key", default=""),
    sealed("stated_name", nullable=True),
    sealed("address", nullable=True),
    instant("blocked_at", nullable=True),
    instant("stated_at", nullable=True),
    instant("created_at"),
    sa.UniqueConstraint("business_id", "channel_account_id", "external_id"),
    sa.Index("ix_persons_by_name", "business_id", "name_key", "id"),
)


_UNNAMED: Final = persons.c.name.is_(None)
_FIRST: Final = sa.bindparam("first", type_=Instant())
_LATER: Final = persons.c.created_at > _FIRST
_UPDATE_PERSON: Final = (
    sa.update(persons)
    .where(*rows_of(persons, sa.bindparam("of_business"), id=sa.bindparam("of_id")))
    .where(sa.or_(_UNNAMED, _LATER))
    .values(
        name=sa.case((_UNNAMED, sa.bindparam("profile_name", type_=sa.LargeBinary())), else_=persons.c.name),
        name_key=sa.case(
            (_UNNAMED, sa.bindparam("profile_key", type_=sa.String())), else_=persons.c.name_key
        ),
        created_at=sa.case((_LATER, _FIRST), else_=persons.c.created_at),
    )
)
_SAID_AT: Final = sa.bindparam("said_at", type_=Instant())
_STATED: Final = (
    sa.update(persons)
    .where(*rows_of(persons, sa.bindparam("of_business"), id=sa.bindparam("of_id")))
    .where(sa.or_(persons.c.stated_at.is_(None), persons.c.stated_at <= _SAID_AT))
    .values(stated_name=sa.bindparam("said", type_=sa.LargeBinary()), stated_at=_SAID_AT)
)


def save_persons(
    tx: Tx,
    new_persons: Sequence[model.Person],
    seen_persons: Sequence[model.Person],
    stated: Iterable[model.Person],
) -> None:
    """Insert persons; give existing ones a missing name, and an earlier ``created_at``.

    ``stated`` are persons who stated their name in a message, which a later message may replace.
    """
    new_rows = [tx.sealed_row(person) | {"name_key": name_key(person.name)} for person in new_persons]
    if insert_new(tx, persons, new_rows) < len(new_rows):
        seen_persons = [*new_persons, *seen_persons]
    rows = [
        {
            "of_business": person.business_id,
            "of_id": person.id,
            "profile_name": tx.seal(person.name, person.business_id, "persons.name", person.id),
            "profile_key": name_key(person.name),
            "first": person.created_at,
        }
        for person in seen_persons
    ]
    write_rows(tx, _UPDATE_PERSON, rows)
    stated_rows = [
        {
            "of_business": person.business_id,
            "of_id": person.id,
            "said": tx.seal(person.stated_name, person.business_id, "persons.stated_name", person.id),
            "said_at": person.stated_at,
        }
        for person in stated
    ]
    write_rows(tx, _STATED, stated_rows)


def load_person(tx: Tx, business_id: str, person_id: str) -> model.Person:
    """Return the person of a conversation, who is always there."""
    return tx.list(model.Person, sa.select(persons).where(*rows_of(persons, business_id, id=person_id)))[0]


PERSONS_OF_MANY: Final = PreparedQuery(
    model.Person,
    sa.select(persons).where(within(persons.c.business_id, "businesses"), within(persons.c.id, "ids")),
)


def list_persons(tx: Tx, business_id: str, person_ids: set[str]) -> dict[str, model.Person]:
    query = sa.select(persons).where(persons.c.business_id == business_id, persons.c.id.in_(person_ids))
    return {person.id: person for person in tx.list(model.Person, query)}


conversations = sa.Table(
    "conversations",
    metadata,
    key(),
    tenant(),
    sa.Column("channel_account_id", sa.String(36), nullable=False),
    sa.Column("person_id", sa.String(36), nullable=False),
    sa.Column("external_id", sa.String(128), nullable=False),
    sa.Column("lead_id", sa.String(36)),
    instant("started_at", nullable=True),
    instant("last_message_at", nullable=True),
    sa.Column("unread", sa.Integer, nullable=False),
    instant("business_read_at", nullable=True),
    instant("customer_read_at", nullable=True),
    sa.Column("state", Choice(model.ThreadState), nullable=False, server_default="open"),
    instant("snoozed_until", nullable=True),
    sa.Column("assignee_id", sa.String(36)),
    instant("waiting_since", nullable=True),
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("business_id", "channel_account_id", "external_id"),
    sa.Index("ix_conversations_business_id_last", "business_id", "last_message_at"),
    sa.Index(
        "ix_conversations_desk",
        *("business_id", "state", "last_message_at", "assignee_id", "waiting_since", "lead_id"),
    ),
    sa.Index("ix_conversations_person_id", "person_id"),
    sa.Index(
        "ix_conversations_unread",
        *("business_id", "lead_id", "state", "last_message_at", "unread"),
        **only("unread > 0"),
    ),
    sa.Index(
        "ix_conversations_waiting",
        *("business_id", "waiting_since", "lead_id"),
        **only("waiting_since IS NOT NULL AND lead_id IS NOT NULL"),
    ),
)


@dataclass(frozen=True, slots=True)
class Move:
    """Effect of a message on its conversation; automatic messages do not answer a customer."""

    conversation: model.Conversation
    at: datetime
    from_customer: bool
    is_automatic: bool = False


_ONE = rows_of(conversations, sa.bindparam("of_business"), id=sa.bindparam("of_id"))
_FIND: Final = sa.select(conversations).where(*_ONE)
_MOMENT: Final = sa.bindparam("moment", type_=Instant())
_KIND: Final = sa.bindparam("kind", type_=sa.String())
_MOVE: Final = (
    sa.update(conversations)
    .where(*_ONE)
    .values(
        last_message_at=sa.case(
            (conversations.c.last_message_at > _MOMENT, conversations.c.last_message_at), else_=_MOMENT
        ),
        unread=conversations.c.unread + sa.case((_KIND == "customer", 1), else_=0),
        state=sa.case(
            (
                sa.and_(_KIND == "customer", conversations.c.state != model.ThreadState.BLOCKED),
                model.ThreadState.OPEN.value,
            ),
            else_=conversations.c.state,
        ),
        waiting_since=sa.case(
            (
                sa.or_(_KIND == "silent", conversations.c.last_message_at > _MOMENT),
                conversations.c.waiting_since,
            ),
            (_KIND == "customer", sa.func.coalesce(conversations.c.waiting_since, _MOMENT)),
            else_=None,
        ),
    )
)


_START: Final = (
    sa.update(conversations)
    .where(*_ONE, sa.or_(conversations.c.started_at.is_(None), conversations.c.started_at > _MOMENT))
    .values(started_at=_MOMENT)
)


TO_CHANGE: Final = PreparedQuery(
    model.Conversation,
    sa.select(conversations)
    .where(within(conversations.c.business_id, "businesses"), within(conversations.c.id, "ids"))
    .order_by(conversations.c.id)
    .with_for_update(),
)
"""Conversations by id, locked until the end of the transaction. The worker takes several businesses."""


def find_conversation(tx: Tx, business_id: str, conversation_id: str) -> model.Conversation | None:
    return tx.find(model.Conversation, _FIND, {"of_business": business_id, "of_id": conversation_id})


def record_moves(
    tx: Tx, moves: Iterable[Move], starts: Iterable[tuple[model.Conversation, datetime]] = ()
) -> None:
    """Record messages in their conversations: the last message, the unread count, and the waiting state.

    A customer's message reopens the conversation. A message of a blocked person, or an automatic message of
    the business, changes only the time. ``starts`` are the times of persons' first messages.
    """
    rows = [
        {
            "of_business": move.conversation.business_id,
            "of_id": move.conversation.id,
            "moment": move.at,
            "kind": _kind_of(move),
        }
        for move in moves
    ]
    write_rows(tx, _MOVE, rows)
    start_rows = [
        {"of_business": conversation.business_id, "of_id": conversation.id, "moment": at}
        for conversation, at in starts
    ]
    write_rows(tx, _START, start_rows)


def _kind_of(move: Move) -> str:
    if move.is_automatic or move.conversation.state is model.ThreadState.BLOCKED:
        return "silent"
    return "customer" if move.from_customer else "business"


def apply_moves(
    conversation: model.Conversation, moves: Iterable[Move], lead_id: str | None
) -> model.Conversation:
    """Apply moves in memory, by the rules of `record_moves`; ``lead_id`` is a lead that they created."""
    last, waiting = conversation.last_message_at, conversation.waiting_since
    unread, state = conversation.unread, conversation.state
    for move in moves:
        kind, is_late = _kind_of(move), last is not None and last > move.at
        if kind != "silent" and not is_late:
            waiting = (waiting or move.at) if kind == "customer" else None
        if kind == "customer":
            unread += 1
            state = state if state is model.ThreadState.BLOCKED else model.ThreadState.OPEN
        last = last if is_late else move.at
    return replace(
        conversation,
        last_message_at=last,
        unread=unread,
        state=state,
        waiting_since=waiting,
        lead_id=lead_id or conversation.lead_id,
    )


def list_conversations_of(tx: Tx, business_id: str, person_ids: Collection[str]) -> list[model.Conversation]:
    return tx.list(
        model.Conversation,
        sa.select(conversations).where(*rows_of(conversations, business_id, person_id=list(person_ids))),
    )


def record_desk(tx: Tx, conversation: model.Conversation, **values: Any) -> bool:
    """Change columns of a conversation; return False if somebody changed it after it was read."""
    unchanged = conversations.c.revision == conversation.revision
    values["revision"] = conversation.revision + 1
    return tx.change(conversations, conversation.business_id, conversation.id, unchanged, **values)


_UPDATE_LEAD: Final = (
    sa.update(conversations)
    .where(*_ONE, sa.or_(conversations.c.lead_id.is_(None), conversations.c.lead_id != sa.bindparam("lead")))
    .values(lead_id=sa.bindparam("lead"))
)


def record_leads(tx: Tx, lead_ids: Mapping[tuple[str, str], str]) -> None:
    rows = [
        {"of_business": business_id, "of_id": conversation_id, "lead": lead_ids[business_id, conversation_id]}
        for business_id, conversation_id in sorted(lead_ids)
    ]
    write_rows(tx, _UPDATE_LEAD, rows)


messages = sa.Table(
    "messages",
    metadata,
    sa.Column("seq", Serial, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(36), nullable=False, unique=True),
    tenant(),
    sa.Column("conversation_id", sa.String(36), nullable=False),
    sa.Column("sender", Choice(Sender), nullable=False),
    sa.Column("kind", Choice(MessageKind), nullable=False),
    sealed("body"),
    text("author"),
    instant("at"),
    sa.Column("photo", sa.String(64)),
    sa.Column("form", sa.String(20)),
    sa.Index("ix_messages_of_conversation", "business_id", "conversation_id", "at", "seq"),
    sa.Index("ix_messages_photo", "business_id", "photo", sqlite_where=sa.literal_column("photo IS NOT NULL"),
          postgresql_where=sa.literal_column("photo IS NOT NULL")),
    info={ROW: ("id",)},
)  # fmt: skip


def append_messages(tx: Tx, pairs: Iterable[tuple[str, model.Message]]) -> int:
    """Append messages, each with its business; return the number of new ones. Rows get a ``seq``."""
    rows = [
        {
            "id": message.id,
            "business_id": business_id,
            "conversation_id": message.conversation_id,
            "sender": message.sender,
            "kind": message.kind,
            "body": tx.vault.seal(message.text, business_id, "messages.body", message.id),
            "author": message.author,
            "at": message.at,
            "photo": message.photo,
            "form": message.form,
        }
        for business_id, message in pairs
    ]
    return insert_new(tx, messages, rows)


EXISTING_MESSAGES: Final = Query(
    sa.select(messages.c.id).where(within(messages.c.business_id, "businesses"), within(messages.c.id, "ids"))
)


inline_notices = sa.Table(
    "inline_notices",
    metadata,
    key(),
    tenant(),
    sa.Column("conversation_id", sa.String(36), nullable=False),
    sa.Column("lead_id", sa.String(36), nullable=False),
    sa.Column("fields", Words, nullable=False),
    instant("at"),
    sa.Index("ix_inline_notices_of_lead", "lead_id"),
)


EXISTING_NOTICES: Final = Query(
    sa.select(inline_notices.c.id).where(
        within(inline_notices.c.business_id, "businesses"), within(inline_notices.c.id, "ids")
    )
)


def list_notices(tx: Tx, business_id: str, conversation_id: str) -> list[model.InlineNotice]:
    """Return the notices in a thread, oldest first.

    The index is by lead, so the query names all leads that the person ever had. Ids of leads grow with
    time, so new notices are neighbours in that index.
    """
    conversation = find_conversation(tx, business_id, conversation_id)
    leads = list_leads_ever(tx, business_id, {conversation.person_id}) if conversation else set[str]()
    notices = rows_of(inline_notices, business_id, lead_id=leads, conversation_id=conversation_id)
    query = sa.select(inline_notices).where(*notices)
    return tx.list(model.InlineNotice, query.order_by(inline_notices.c.at))
