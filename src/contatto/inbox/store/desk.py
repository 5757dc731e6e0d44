"""Lists of the inbox, labels, notes, saved replies, inputs of spam detection, and erasure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa

from contatto.channels.model import Sender
from contatto.inbox import model
from contatto.inbox.store.conversations import _WAITS, conversations, messages, receipts
from contatto.inbox.store.messages import ad_referrals, is_answer_of_person, scheduled_replies, sends
from contatto.kit.db.statements import PreparedQuery, Query
from contatto.kit.db.tx import (
    ROW,
    JsonText,
    Tx,
    instant,
    key,
    metadata,
    rows_of,
    sealed,
    tenant,
    text,
    within,
)
from contatto.measurement.store import IS_CLICK, touches
from contatto.spam.store import chats as judged_chats

mentions = sa.Table(
    "note_mentions",
    metadata,
    key(),
    tenant(),
    sa.Column("note_id", sa.String(36), nullable=False),
    sa.Column("conversation_id", sa.String(36), nullable=False),
    sa.Column("member_id", sa.String(36), nullable=False),
    instant("seen_at", nullable=True),
    sa.UniqueConstraint("note_id", "member_id"),
    sa.Index("ix_note_mentions_of_member", "business_id", "member_id", "conversation_id"),
)


def list_unseen_mentions(tx: Tx, business_id: str, member_id: str) -> set[str]:
    """Return the conversations with a mention that the member has not seen, by id."""
    named = sa.select(mentions.c.conversation_id).where(*rows_of(mentions, business_id, member_id=member_id))
    return set(tx.execute(named.where(mentions.c.seen_at.is_(None))).scalars())


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Filter of conversations.

    Attributes:
        tab: all, mine, mentions, unassigned, waiting (leads without an answer), late (without an answer
            since ``late_before``), unread or leads.
        ids: only these conversations; None for all.
        state: state of the thread; None for all but blocked.
        member_id: member who reads the list.
        active_since: only those with a message since then; None for all.
    """

    tab: str = "all"
    ids: frozenset[str] | None = None
    state: model.ThreadState | None = None
    member_id: str = ""
    late_before: datetime | None = None
    active_since: datetime | None = None


def list_conversations(
    tx: Tx,
    business_id: str,
    conversation_filter: ConversationFilter,
    limit: int = 50,
    before: datetime | None = None,
) -> list[model.Conversation]:
    """Return conversations with at least one message, latest first."""
    statement = _matching(sa.select(conversations), business_id, conversation_filter)
    if before is not None:
        statement = statement.where(conversations.c.last_message_at < before)
    return tx.list(
        model.Conversation, statement.order_by(conversations.c.last_message_at.desc()).limit(limit)
    )


def list_conversations_of_account(
    tx: Tx, business_id: str, account_id: str, span: tuple[int, int], *, is_answered: bool
) -> list[model.Conversation]:
    """Return conversations of an account with messages, latest first; ``span`` is offset and limit.

    A conversation is answered when a member of the business wrote in it; automatic messages do not count.
    """
    answered = sa.select(messages.c.id).where(
        messages.c.business_id == business_id,
        messages.c.conversation_id == conversations.c.id,
        is_answer_of_person(messages),
    )
    query = sa.select(conversations).where(
        *rows_of(conversations, business_id, channel_account_id=account_id),
        conversations.c.last_message_at.is_not(None),
        answered.exists() if is_answered else ~answered.exists(),
    )
    latest = query.order_by(conversations.c.last_message_at.desc(), conversations.c.id)
    return tx.list(model.Conversation, latest.offset(span[0]).limit(span[1]))


def count_conversations(tx: Tx, business_id: str, conversation_filter: ConversationFilter) -> int:
    counted = _matching(
        sa.select(sa.func.count()).select_from(conversations), business_id, conversation_filter
    )
    return int(tx.scalar(counted))


def count_tabs(
    tx: Tx, business_id: str, conversation_filter: ConversationFilter, tabs: Iterable[str]
) -> dict[str, int]:
    rules = {tab: _of_tab(business_id, replace(conversation_filter, tab=tab)) for tab in tabs}
    counts = [
        (sa.func.count().filter(sa.and_(*rule)) if rule else sa.func.count()).label(tab)
        for tab, rule in rules.items()
    ]
    counted: Any = sa.select(*counts).select_from(conversations)
    statement = _matching(counted, business_id, replace(conversation_filter, tab="all"))
    return {tab: int(count) for tab, count in tx.execute(statement).mappings().one().items()}


def _matching(
    statement: sa.Select[Any], business_id: str, conversation_filter: ConversationFilter
) -> sa.Select[Any]:
    has_message = conversations.c.last_message_at.is_not(None)
    statement = statement.where(conversations.c.business_id == business_id, has_message)
    if conversation_filter.state is None:
        statement = statement.where(conversations.c.state != model.ThreadState.BLOCKED)
    else:
        statement = statement.where(conversations.c.state == conversation_filter.state)
    statement = statement.where(*_of_tab(business_id, conversation_filter))
    if conversation_filter.active_since is not None:
        statement = statement.where(conversations.c.last_message_at >= conversation_filter.active_since)
    if conversation_filter.ids is not None:
        statement = statement.where(conversations.c.id.in_(conversation_filter.ids))
    return statement


def _of_tab(business_id: str, conversation_filter: ConversationFilter) -> list[sa.ColumnElement[bool]]:
    table = conversations.c
    own_mentions = rows_of(mentions, business_id, member_id=conversation_filter.member_id)
    tabs: dict[str, list[sa.ColumnElement[bool]]] = {
        "mine": [table.assignee_id == conversation_filter.member_id],
        "mentions": [table.id.in_(sa.select(mentions.c.conversation_id).where(*own_mentions))],
        "unassigned": [table.assignee_id.is_(None)],
        "waiting": [table.lead_id.is_not(None), IS_WAITING],
        "late": [table.waiting_since <= conversation_filter.late_before]
        if conversation_filter.late_before
        else [sa.false()],
        "unread": [IS_UNREAD],
        "leads": [table.lead_id.is_not(None)],
    }
    return tabs.get(conversation_filter.tab, [])


def list_late_conversations(
    tx: Tx, business_id: str, between: tuple[datetime, datetime], limit: int
) -> list[model.Conversation]:
    """Return conversations that have waited since a time between two moments, the longest first."""
    late = sa.select(conversations).where(
        *rows_of(conversations, business_id, state=model.ThreadState.OPEN),
        conversations.c.waiting_since > between[0],
        conversations.c.waiting_since <= between[1],
    )
    return tx.list(model.Conversation, late.order_by(conversations.c.waiting_since).limit(limit))


IS_UNREAD: Final = conversations.c.unread > sa.literal_column("0")
"""A parameter in place of the number would hide the index."""
IS_WAITING: Final = conversations.c.waiting_since.is_not(None)


def select_leads_of_chats(_tx: Tx, business_id: str, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Return a select of the leads with chats that meet the condition; a port of leads."""
    has_lead = (conversations.c.business_id == business_id, conversations.c.lead_id.is_not(None))
    return sa.select(conversations.c.lead_id).where(*has_lead, condition)


def list_ended_snoozes(tx: Tx, limit: int) -> list[model.Conversation]:
    """Return snoozed conversations of all businesses that are due; for the timer only."""
    ended = sa.select(conversations).where(
        conversations.c.state == model.ThreadState.SNOOZED, conversations.c.snoozed_until <= tx.now
    )
    return tx.list(model.Conversation, ended.limit(limit))


conversation_labels = sa.Table(
    "conversation_labels",
    metadata,
    tenant(),
    sa.Column("conversation_id", sa.String(36), nullable=False, primary_key=True),
    sa.Column("label_id", sa.String(36), nullable=False, primary_key=True),
)

private_notes = sa.Table(
    "private_notes",
    metadata,
    key(),
    tenant(),
    sa.Column("conversation_id", sa.String(36), nullable=False),
    sealed("text"),
    text("author"),
    instant("at"),
    sa.Index("ix_private_notes_of_conversation", "business_id", "conversation_id", "at"),
)

saved_replies = sa.Table(
    "saved_replies",
    metadata,
    key(),
    tenant(),
    sa.Column("shortcut", sa.String(30), nullable=False),
    sealed("text"),
    instant("changed_at"),
    sa.UniqueConstraint("business_id", "shortcut"),
    info={ROW: ("shortcut",)},
)


def list_label_ids(tx: Tx, business_id: str, conversation_ids: Iterable[str]) -> dict[str, set[str]]:
    ids_by_conversation: dict[str, set[str]] = {
        conversation_id: set() for conversation_id in conversation_ids
    }
    query = sa.select(conversation_labels).where(
        conversation_labels.c.business_id == business_id,
        conversation_labels.c.conversation_id.in_(list(ids_by_conversation)),
    )
    for row in tx.execute(query).mappings():
        ids_by_conversation[row["conversation_id"]].add(row["label_id"])
    return ids_by_conversation


def list_private_notes(tx: Tx, business_id: str, conversation_id: str) -> list[model.PrivateNote]:
    query = sa.select(private_notes).where(
        *rows_of(private_notes, business_id, conversation_id=conversation_id)
    )
    tx.record_contact_reads("conversation_id", (conversation_id,))
    return tx.list(model.PrivateNote, query.order_by(private_notes.c.at))


def list_saved_replies(tx: Tx, business_id: str) -> list[model.SavedReply]:
    query = sa.select(saved_replies).where(saved_replies.c.business_id == business_id)
    return tx.list(model.SavedReply, query.order_by(saved_replies.c.shortcut))


reply_targets = sa.Table(
    "reply_targets",
    metadata,
    sa.Column("business_id", sa.String(36), primary_key=True),
    sa.Column("minutes", sa.Integer, nullable=False),
    instant("changed_at"),
)


def find_reply_target(tx: Tx, business_id: str) -> timedelta | None:
    minutes = tx.scalar(sa.select(reply_targets.c.minutes).where(reply_targets.c.business_id == business_id))
    return timedelta(minutes=minutes) if minutes else None


def list_reply_targets(tx: Tx) -> dict[str, timedelta]:
    query = sa.select(reply_targets.c.business_id, reply_targets.c.minutes).where(reply_targets.c.minutes > 0)
    return {row.business_id: timedelta(minutes=row.minutes) for row in tx.execute(query)}


automatic_messages = sa.Table(
    "automatic_messages",
    metadata,
    sa.Column("channel_account_id", sa.String(36), primary_key=True),
    tenant(),
    sa.Column("content", JsonText(model.AutomaticMessages), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    instant("changed_at"),
)


def load_automatic(tx: Tx, business_id: str, account_id: str) -> tuple[model.AutomaticMessages, int]:
    """Return the automatic messages of an account and their revision: 0 if there are none."""
    own = rows_of(automatic_messages, business_id, channel_account_id=account_id)
    row = tx.execute(sa.select(automatic_messages).where(*own)).first()
    return (model.AutomaticMessages(), 0) if row is None else (row.content, row.revision)


_BUSINESS: Final = sa.bindparam("of", type_=sa.String())


@dataclass(frozen=True, slots=True)
class Suspect:
    """A chat to check for spam, by its id."""

    id: str
    channel_account_id: str
    person_id: str


SUSPECTS: Final = PreparedQuery(
    Suspect,
    sa.select(conversations.c.id, conversations.c.channel_account_id, conversations.c.person_id).where(
        conversations.c.business_id == _BUSINESS, within(conversations.c.id, "ids")
    ),
)
"""Query of chats to check for spam, without deleted ones."""


TAPS: Final = Query(
    sa.select(touches.c.person_id, sa.func.count())
    .where(
        touches.c.business_id == _BUSINESS, within(touches.c.person_id, "persons"), IS_CLICK,
        touches.c.ts >= sa.bindparam("since", type_=sa.BigInteger()),
    )
    .group_by(touches.c.person_id)
)  # fmt: skip
"""Count of ad taps by person from ``since`` on (in microseconds), without persons that have none."""


MARKED: Final = Query(
    sa.select(conversations.c.person_id, conversations.c.id)
    .join(
        judged_chats,
        sa.and_(
            judged_chats.c.business_id == conversations.c.business_id,
            judged_chats.c.conversation_id == conversations.c.id,
        ),
    )
    .where(
        conversations.c.business_id == _BUSINESS, within(conversations.c.person_id, "persons"),
        judged_chats.c.mark == sa.bindparam("spam", type_=judged_chats.c.mark.type),
    )
)  # fmt: skip
"""Chats of persons that are marked as spam, as person and chat."""


def _latest_of_each(on: str) -> Query:
    """Build the query for the latest messages of several chats; its syntax depends on the database."""
    latest = messages.alias("latest")
    of_chat = (
        latest.c.business_id == conversations.c.business_id,
        latest.c.conversation_id == conversations.c.id,
    )
    newest = sa.select(latest).where(*of_chat).order_by(latest.c.at.desc(), latest.c.seq.desc())
    newest = newest.limit(sa.bindparam("each", type_=sa.Integer()))
    message_rows: Any = messages
    if on == "postgresql":
        message_rows = newest.lateral("said")
        both = conversations.join(message_rows, sa.true())
    else:
        seqs = newest.with_only_columns(latest.c.seq).correlate(conversations)
        both = conversations.join(message_rows, message_rows.c.seq.in_(seqs))
    query: sa.Select[Any] = sa.select(
        message_rows.c.conversation_id,
        message_rows.c.sender,
        message_rows.c.body,
        message_rows.c.at,
        message_rows.c.seq,
        message_rows.c.id,
    )
    conditions = conversations.c.business_id == _BUSINESS, within(conversations.c.id, "ids")
    return Query(query.select_from(both).where(*conditions))


MOST_JUDGED: Final = 30
"""Number of the latest messages of a chat that are judged."""
_LATEST: Final = {on: _latest_of_each(on) for on in ("sqlite", "postgresql")}


def list_texts(
    tx: Tx, business_id: str, conversation_ids: Sequence[str], most: int = MOST_JUDGED
) -> dict[str, str]:
    """Return customers' texts among the latest ``most`` messages of chats, oldest first, on lines.

    Older messages of a long chat are not read.
    """
    latest = _LATEST[tx.connection.dialect.name]
    rows = latest.rows(tx, {"of": business_id, "ids": conversation_ids, "each": most})
    texts: dict[str, list[str]] = {conversation_id: [] for conversation_id in conversation_ids}
    for conversation_id, sender, body, _at, _seq, message_id in sorted(rows, key=itemgetter(3, 4)):
        if sender is Sender.CUSTOMER:
            texts[conversation_id].append(tx.vault.open(body, business_id, "messages.body", message_id))
    return {conversation_id: "\n".join(lines) for conversation_id, lines in texts.items()}


def list_waiting_receipts(tx: Tx, business_id: str, account: str) -> list[model.Receipt]:
    """Lock an account, so that no worker settles its deliveries; return those that wait, due or not."""
    if tx.locks_rows:
        name = {"name": business_id + account}
        tx.execute(
            sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("name"), 0))), name
        )
    query = sa.select(receipts).where(
        _WAITS, receipts.c.business_id == business_id, receipts.c.account == account
    )
    return tx.list(model.Receipt, query.order_by(receipts.c.id))


TABLES_OF_CHATS: Final = (
    sends, ad_referrals, conversation_labels, private_notes, mentions, scheduled_replies, messages,
)  # fmt: skip
"""Tables with rows of a conversation; inline notices also belong to a lead and are deleted apart."""
