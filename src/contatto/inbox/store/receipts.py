"""Tables of sealed deliveries and their ledger, and erasure of persons."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    Select,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    func,
    literal_column,
    null,
    select,
    update,
)

from contatto.channels.model import Platform
from contatto.channels.store import channel_accounts
from contatto.inbox.model import AdReferral, Receipt, ReceiptCounts, ReceiptState
from contatto.inbox.store.conversations import conversations, mentions, persons
from contatto.inbox.store.desk import conversation_labels, delete_notices, private_notes
from contatto.inbox.store.messages import messages, photos, scheduled_replies, sends
from contatto.kit.db.prepared import update_rows
from contatto.kit.db.tx import Row, Tx, insert_for
from contatto.kit.db.types import (
    ROW,
    Choice,
    Serial,
    instant,
    key,
    metadata,
    row_of,
    sealed,
    tenant,
    text,
    within,
)
from contatto.kit.fair_queue import Queue
from contatto.kit.vault import Vault, row_key

_WAITS: Final[ColumnElement[bool]] = literal_column("state = 'received'")

receipts = Table(
    "receipts",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    tenant(),
    Column("platform", Choice(Platform), nullable=False),
    Column("account", String(128), nullable=False),
    Column("natural_key", String(300), nullable=False),
    sealed("body", nullable=True),
    Column("copies", Integer, nullable=False),
    Column("state", Choice(ReceiptState), nullable=False),
    Column("reason", String(64)),
    Column("attempts", Integer, nullable=False),
    instant("received_at"),
    instant("due_at"),
    UniqueConstraint("business_id", "platform", "natural_key"),
    Index("ix_receipts_waiting", "business_id", "due_at", "id", sqlite_where=_WAITS, postgresql_where=_WAITS),
    info={ROW: ("platform", "natural_key")},
)

WAITING: Final = Queue(receipts, _WAITS, receipts.c.due_at)
"""Deliveries that are not settled yet."""


def seal_receipt(vault: Vault, row: dict[str, Any], body: bytes) -> dict[str, Any]:
    """Add the sealed body to the row of a delivery."""
    named = row_key(row["platform"], row["natural_key"])
    return row | {"body": vault.seal_bytes(body, row["business_id"], "receipts.body", named)}


def open_receipt(vault: Vault, receipt: Receipt) -> bytes:
    named = row_key(receipt.platform, receipt.natural_key)
    return vault.open_bytes(receipt.body or b"", receipt.business_id, "receipts.body", named)


APPEND_RECEIPT: Final[dict[str, Any]] = {
    dialect: insert_for(dialect, receipts).on_conflict_do_update(
        index_elements=["business_id", "platform", "natural_key"],
        set_={"copies": receipts.c.copies + literal_column("1")},
    )
    for dialect in ("sqlite", "postgresql")
}
"""The insert of the hot path: a repeated delivery only counts up its copies."""


def append_receipt(tx: Tx, row: dict[str, Any]) -> None:
    """Keep a delivery in a transaction with other things; a repeated one only counts up its copies."""
    tx.execute(APPEND_RECEIPT[tx.connection.dialect.name], row)


WAIT: Final = timedelta(seconds=4)
"""A delivery that failed waits for 4 seconds from its arrival, then for 16, 36, 64…"""


def list_waiting_receipts(tx: Tx, business_id: str, limit: int) -> list[Receipt]:
    """Deliveries of a business that are due, in order of arrival; for the worker only.

    No account is settled by two at the same time: they would wait for each other's rows.
    """
    if not tx.locks_rows:
        return WAITING.list(tx, Receipt, business_id, limit)
    values = WAITING.values(tx, business_id, limit)
    accounts = _claim_accounts(tx, business_id, values)
    return tx.list(Receipt, _OF_ACCOUNTS, values | {"accounts": accounts}) if accounts else []


def _claim_accounts(tx: Tx, business_id: str, values: Row) -> list[str]:
    """Claim accounts that no other batch settles, until the transaction ends; the longest waiting first.

    No more than a part of a batch needs: where much waits, others settle the other accounts meanwhile.
    """
    own_accounts, other_accounts, enough = list[str](), list[str](), values["most"] // _SHARES
    for _ in range(_LOOKS):
        counts = Counter(tx.execute(_OTHER_ACCOUNTS, {**values, "theirs": other_accounts}).scalars())
        for account in counts:
            if bool(tx.execute(_TRY, {"name": business_id + account}).scalar()):
                own_accounts.append(account)
            else:
                other_accounts.append(account)
            if sum(counts[account] for account in own_accounts) > enough:
                return own_accounts
        if own_accounts or not counts:
            break  # what waits is little, or nothing is left that others do not settle
    return own_accounts


_LOOKS: Final = 3
"""How often it is looked behind the deliveries of accounts that others settle."""
_SHARES: Final = 4
"""An account with more than such a part of a batch is enough for it."""
_OTHER_ACCOUNTS: Final = WAITING.unlocked.where(~within(receipts.c.account, "theirs")).with_only_columns(
    receipts.c.account
)
_OF_ACCOUNTS: Final = WAITING.unlocked.where(within(receipts.c.account, "accounts"))
"""Who holds their accounts need not lock the deliveries too, which would write each of them once more."""
_TRY: Final = select(
    func.pg_try_advisory_xact_lock(func.hashtextextended(bindparam("name", type_=String()), 0))
)


def mark_account_held(tx: Tx, business_id: str, account: str) -> None:
    """Hold the lock of an account, so that no worker settles its deliveries until the end."""
    if tx.locks_rows:
        name = {"name": business_id + account}
        tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("name"), 0))), name)


def list_receipts_of_account(tx: Tx, business_id: str, account: str) -> list[Receipt]:
    """Return the deliveries of an account that wait, due or not."""
    query = select(receipts).where(
        _WAITS, receipts.c.business_id == business_id, receipts.c.account == account
    )
    return tx.list(Receipt, query.order_by(receipts.c.id))


def delete_bodies(tx: Tx, settled: Sequence[Receipt]) -> None:
    if settled:
        statement = update(receipts).where(receipts.c.business_id == settled[0].business_id)
        tx.execute(statement.where(receipts.c.id.in_([receipt.id for receipt in settled])).values(body=None))


_REFUSE: Final = (
    update(receipts)
    .where(within(receipts.c.id, "ids"))
    .values(state=bindparam("now_state"), reason=bindparam("why"))
)
_SETTLE: Final = _REFUSE.values(body=null())


def mark_receipts(tx: Tx, settled: Sequence[Receipt], state: ReceiptState, reason: str | None) -> None:
    """Settle receipts. The body of a stored one is let go: the message is kept, the copy is not needed."""
    is_kept = state not in (ReceiptState.STORED, ReceiptState.MERGED)
    values = {"ids": [receipt.id for receipt in settled], "now_state": state, "why": reason}
    update_rows(tx, _REFUSE if is_kept else _SETTLE, [values])


def mark_receipt_tried(tx: Tx, receipt: Receipt) -> None:
    """Note that a try failed, and put the next one off."""
    tries = receipt.attempts + 1
    values = {"attempts": tries, "due_at": receipt.received_at + tries * tries * WAIT}
    tx.execute(update(receipts).where(receipts.c.id == receipt.id).values(**values))


def count_receipts(tx: Tx, business_id: str) -> ReceiptCounts:
    """Return the ledger of a business: received = stored + merged + refused + waiting."""
    return _ledger(tx, _COUNTED.where(receipts.c.business_id == business_id))


def count_all_receipts(tx: Tx) -> ReceiptCounts:
    """Count receipts of all businesses, for monitoring."""
    return _ledger(tx, _COUNTED)


_COUNTED: Final = select(
    receipts.c.state, receipts.c.reason, func.count(), func.sum(receipts.c.copies)
).group_by(receipts.c.state, receipts.c.reason)


def _ledger(tx: Tx, counted: Select[Any]) -> ReceiptCounts:
    rows: list[Any] = list(tx.execute(counted))
    by_state = {state: sum(row[2] for row in rows if row[0] is state) for state in ReceiptState}
    copies = sum(int(row[3]) for row in rows)
    return ReceiptCounts(
        received=copies,
        stored=by_state[ReceiptState.STORED],
        merged=by_state[ReceiptState.MERGED] + copies - sum(by_state.values()),
        refused=by_state[ReceiptState.REFUSED],
        waiting=by_state[ReceiptState.RECEIVED],
        reasons={row[1] or "": row[2] for row in rows if row[0] is ReceiptState.REFUSED},
    )


ad_referrals = Table(
    "ad_referrals",
    metadata,
    key(),
    tenant(),
    Column("conversation_id", String(36), nullable=False),
    Column("ad_number", BigInteger, nullable=False),
    text("click_id"),
    sealed("headline", nullable=True),
    sealed("ad_text", nullable=True),
    instant("at"),
    Column("advertiser", String(64), nullable=False, server_default=""),
    Index("ix_ad_referrals_of_conversation", "business_id", "conversation_id", "at"),
    Index("ix_ad_referrals_of_number", "business_id", "ad_number"),
)


@dataclass(frozen=True, slots=True)
class NamedTap:
    """Tap on an ad that a platform reported, with its person; ``advertiser`` as in `AdReferral`."""

    conversation_id: str
    person_id: str
    platform: Platform
    ad_number: int
    advertiser: str
    at: datetime


def append_referral(tx: Tx, referral: AdReferral) -> bool:
    """Append a referral; False when it was there before."""
    row = row_of(referral)
    texts = {
        name: tx.seal(row[name], referral.business_id, f"ad_referrals.{name}", referral.id)
        for name in ("headline", "ad_text")
    }
    return tx.insert_ignore(ad_referrals, row | texts)


def list_taps_on(tx: Tx, business_id: str, ad_numbers: Collection[int]) -> list[NamedTap]:
    """Return the reported taps on ads with these numbers."""
    query = (
        select(
            ad_referrals.c.conversation_id,
            ad_referrals.c.ad_number,
            ad_referrals.c.advertiser,
            ad_referrals.c.at,
            conversations.c.person_id,
            channel_accounts.c.platform,
        )
        .join(conversations, conversations.c.id == ad_referrals.c.conversation_id)
        .join(channel_accounts, channel_accounts.c.id == conversations.c.channel_account_id)
        .where(
            ad_referrals.c.business_id == business_id,
            conversations.c.business_id == business_id,
            channel_accounts.c.business_id == business_id,
            ad_referrals.c.ad_number.in_(list(ad_numbers)),
        )
    )
    return tx.list(NamedTap, query.order_by(ad_referrals.c.at, ad_referrals.c.id))


def list_referrals(tx: Tx, business_id: str, conversation_id: str) -> list[AdReferral]:
    query = select(ad_referrals).where(
        ad_referrals.c.business_id == business_id, ad_referrals.c.conversation_id == conversation_id
    )
    return tx.list(AdReferral, query.order_by(ad_referrals.c.at))


_HANGING: Final = (
    sends, ad_referrals, conversation_labels, private_notes, mentions, scheduled_replies, messages,
)  # fmt: skip


def list_chats(tx: Tx, business_id: str, person_ids: Collection[str]) -> dict[str, str]:
    """Return the conversations of some persons: the channel account of each by its id."""
    query = select(conversations.c.id, conversations.c.channel_account_id).where(
        conversations.c.business_id == business_id, conversations.c.person_id.in_(person_ids)
    )
    return {row["id"]: row["channel_account_id"] for row in tx.execute(query).mappings()}


def list_erased_texts(tx: Tx, business_id: str, chat_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield every message of some conversations, as its id and its text."""
    query = select(messages.c.id, messages.c.body).where(
        messages.c.business_id == business_id, messages.c.conversation_id.in_(chat_ids)
    )
    for row in tx.execute(query).mappings().all():
        yield row["id"], tx.vault.open(row["body"], business_id, "messages.body", row["id"])


def list_external_ids(tx: Tx, business_id: str, person_ids: Collection[str]) -> set[str]:
    """Return the ids of persons on their platforms, and their addresses there."""
    query = select(persons.c.id, persons.c.external_id, persons.c.address).where(
        persons.c.business_id == business_id, persons.c.id.in_(person_ids)
    )
    external_ids: set[str] = set()
    for row in tx.execute(query).mappings():
        external_ids.add(row["external_id"])
        if row["address"] is not None:
            external_ids.add(tx.vault.open(row["address"], business_id, "persons.address", row["id"]))
    return external_ids


def delete_chats(tx: Tx, business_id: str, person_ids: Collection[str], chat_ids: Collection[str]) -> None:
    """Delete persons and their conversations with all that hangs on them.

    The conversation goes first: who writes into it meanwhile waits for its row.
    """
    own = conversations.delete().where(conversations.c.business_id == business_id)
    tx.execute(own.where(conversations.c.id.in_(chat_ids)))
    shown = select(messages.c.photo).where(
        messages.c.business_id == business_id, messages.c.photo.is_not(None)
    )
    unused_photos = photos.delete().where(
        photos.c.business_id == business_id,
        photos.c.digest.in_(shown.where(messages.c.conversation_id.in_(chat_ids))),
        photos.c.digest.not_in(shown.where(messages.c.conversation_id.not_in(chat_ids))),
    )
    tx.execute(unused_photos)
    delete_notices(tx, business_id, person_ids, chat_ids)
    for table in _HANGING:
        hanging = table.delete().where(table.c.business_id == business_id)
        tx.execute(hanging.where(table.c.conversation_id.in_(chat_ids)))
    statement = persons.delete().where(persons.c.business_id == business_id)
    tx.execute(statement.where(persons.c.id.in_(person_ids)))


def delete_refused_bodies(tx: Tx, business_id: str, words: Collection[bytes]) -> int:
    """Let go of the bodies of refused deliveries in which one of the words stands; say how many."""
    query = select(receipts).where(
        receipts.c.business_id == business_id,
        receipts.c.state == ReceiptState.REFUSED,
        receipts.c.body.is_not(None),
    )
    about = [
        receipt.id
        for receipt in tx.list(Receipt, query)
        if any(word in open_receipt(tx.vault, receipt) for word in words)
    ]
    statement = update(receipts).where(receipts.c.business_id == business_id, receipts.c.id.in_(about))
    return tx.execute(statement.values(body=None)).rowcount if about else 0
