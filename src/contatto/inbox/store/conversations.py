"""Threads with one person each: what moves them along, and the lists of the inbox."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    Integer,
    Select,
    String,
    Table,
    UniqueConstraint,
    Update,
    and_,
    bindparam,
    case,
    false,
    func,
    literal_column,
    or_,
    select,
    union_all,
    update,
)

from contatto.channels.store import channel_accounts
from contatto.inbox.model import Conversation, ThreadState
from contatto.inbox.store.mentions import conversations_naming
from contatto.inbox.store.messages import is_answer_of_person, messages
from contatto.inbox.store.persons import persons
from contatto.kit.db.hot import Seek, insert_new, update_rows
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Choice, Instant, instant, key, metadata, only, row_of, tenant
from contatto.kit.db.within import within
from contatto.leads.rules.records import visitor_mark
from contatto.leads.store.matching import match_mark, match_words

conversations = Table(
    "conversations",
    metadata,
    key(),
    tenant(),
    Column("channel_account_id", String(36), nullable=False),
    Column("person_id", String(36), nullable=False),
    Column("external_id", String(128), nullable=False),
    Column("lead_id", String(36)),
    instant("started_at", nullable=True),
    instant("last_message_at", nullable=True),
    Column("unread", Integer, nullable=False),
    instant("business_read_at", nullable=True),
    instant("customer_read_at", nullable=True),
    Column("state", Choice(ThreadState), nullable=False, server_default="open"),
    instant("snoozed_until", nullable=True),
    Column("assignee_id", String(36)),
    instant("waiting_since", nullable=True),
    Column("revision", Integer, nullable=False, server_default="0"),
    UniqueConstraint("business_id", "channel_account_id", "external_id"),
    Index("ix_conversations_business_id_last", "business_id", "last_message_at"),
    Index(
        "ix_conversations_desk",
        *("business_id", "state", "last_message_at", "assignee_id", "waiting_since", "lead_id"),
    ),
    Index("ix_conversations_person_id", "person_id"),
    Index(
        "ix_conversations_unread",
        *("business_id", "lead_id", "state", "last_message_at", "unread"),
        **only("unread > 0"),
    ),
    Index(
        "ix_conversations_waiting",
        *("business_id", "waiting_since", "lead_id"),
        **only("waiting_since IS NOT NULL AND lead_id IS NOT NULL"),
    ),
)


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Which conversations to list.

    Attributes:
        tab: all, mine, mentions, unassigned, waiting (leads that nobody has answered), late (answered by
            nobody since ``late_before``), unread or leads.
        among: these alone; None for all.
        state: where on the desk they lie; None for everywhere but blocked.
        member_id: whose desk it is.
    """

    tab: str = "all"
    among: frozenset[str] | None = None
    state: ThreadState | None = None
    member_id: str = ""
    late_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A message moves its conversation along; an automatic one of the business is no answer to who waits."""

    conversation: Conversation
    at: datetime
    from_customer: bool
    is_automatic: bool = False


@dataclass(frozen=True, slots=True)
class LeadMade:
    """That a conversation made a lead."""

    business_id: str
    conversation_id: str
    lead_id: str


def save_conversations(tx: Tx, found: Iterable[Conversation]) -> int:
    """Insert conversations; those that are there stay as they are. Say how many were not there before."""
    return insert_new(tx, conversations, [row_of(each) for each in found])


_ONE = (conversations.c.business_id == bindparam("of_business"), conversations.c.id == bindparam("of_id"))
_FIND: Final = select(conversations).where(*_ONE)
_MOMENT: Final = bindparam("moment", type_=Instant())
_KIND: Final = bindparam("kind", type_=String())
_MOVE: Final = (
    update(conversations)
    .where(*_ONE)
    .values(
        last_message_at=case(
            (conversations.c.last_message_at > _MOMENT, conversations.c.last_message_at), else_=_MOMENT
        ),
        unread=conversations.c.unread + case((_KIND == "customer", 1), else_=0),
        state=case(
            (and_(_KIND == "customer", conversations.c.state != ThreadState.BLOCKED), ThreadState.OPEN.value),
            else_=conversations.c.state,
        ),
        waiting_since=case(
            (
                or_(_KIND == "silent", conversations.c.last_message_at > _MOMENT),
                conversations.c.waiting_since,
            ),
            (_KIND == "customer", func.coalesce(conversations.c.waiting_since, _MOMENT)),
            else_=None,
        ),
    )
)


_START: Final = (
    update(conversations)
    .where(*_ONE, or_(conversations.c.started_at.is_(None), conversations.c.started_at > _MOMENT))
    .values(started_at=_MOMENT)
)


_OF_MANY: Final = select(conversations).where(
    within(conversations.c.business_id, "businesses"), within(conversations.c.id, "ids")
)
_TO_MOVE: Final = Seek(Conversation, _OF_MANY)
_LOCKED: Final = Seek(Conversation, _OF_MANY.order_by(conversations.c.id).with_for_update())


def list_conversations_to_move(
    tx: Tx, business_ids: Collection[str], conversation_ids: Collection[str]
) -> list[Conversation]:
    """Conversations of several businesses, locked until the end of the transaction; for the worker."""
    values = {"businesses": business_ids, "ids": conversation_ids}
    return (_LOCKED if tx.locks_rows else _TO_MOVE).list(tx, values)


def find_conversation(tx: Tx, business_id: str, conversation_id: str) -> Conversation | None:
    return tx.find(Conversation, _FIND, {"of_business": business_id, "of_id": conversation_id})


def list_conversations(
    tx: Tx, business_id: str, wanted: ConversationFilter, limit: int = 50, before: datetime | None = None
) -> list[Conversation]:
    """Conversations with at least one message, latest first."""
    statement = _matching(select(conversations), business_id, wanted)
    if before is not None:
        statement = statement.where(conversations.c.last_message_at < before)
    return tx.list(Conversation, statement.order_by(conversations.c.last_message_at.desc()).limit(limit))


def list_conversations_of_account(
    tx: Tx, business_id: str, account_id: str, span: tuple[int, int], *, is_answered: bool
) -> list[Conversation]:
    """Conversations of one account with at least one message, latest first; ``span`` is offset and limit.

    Answered are those in which a message of the business stands that did not write itself.
    """
    answered = select(messages.c.id).where(
        messages.c.business_id == business_id,
        messages.c.conversation_id == conversations.c.id,
        is_answer_of_person(messages),
    )
    mine = select(conversations).where(
        conversations.c.business_id == business_id,
        conversations.c.channel_account_id == account_id,
        conversations.c.last_message_at.is_not(None),
        answered.exists() if is_answered else ~answered.exists(),
    )
    latest = mine.order_by(conversations.c.last_message_at.desc(), conversations.c.id)
    return tx.list(Conversation, latest.offset(span[0]).limit(span[1]))


def count_conversations(tx: Tx, business_id: str, wanted: ConversationFilter) -> int:
    counted = _matching(select(func.count()).select_from(conversations), business_id, wanted)
    return int(tx.scalar(counted))


def count_active_since(tx: Tx, business_id: str, moment: datetime) -> int:
    """Count the conversations with a message since a moment, without blocked ones."""
    active = (
        select(func.count())
        .select_from(conversations)
        .where(
            conversations.c.business_id == business_id,
            conversations.c.last_message_at >= moment,
            conversations.c.state != ThreadState.BLOCKED,
        )
    )
    return int(tx.scalar(active))


def count_tabs(tx: Tx, business_id: str, wanted: ConversationFilter, tabs: Iterable[str]) -> dict[str, int]:
    """How many conversations each tab has, all counted in one pass along an index."""
    rules = {tab: _of_tab(business_id, replace(wanted, tab=tab)) for tab in tabs}
    counts = [
        (func.count().filter(and_(*rule)) if rule else func.count()).label(tab) for tab, rule in rules.items()
    ]
    counted: Any = select(*counts).select_from(conversations)
    statement = _matching(counted, business_id, replace(wanted, tab="all"))
    return {tab: int(count) for tab, count in tx.execute(statement).mappings().one().items()}


def _matching(statement: Select[Any], business_id: str, wanted: ConversationFilter) -> Select[Any]:
    has_message = conversations.c.last_message_at.is_not(None)
    statement = statement.where(conversations.c.business_id == business_id, has_message)
    if wanted.state is None:
        statement = statement.where(conversations.c.state != ThreadState.BLOCKED)
    else:
        statement = statement.where(conversations.c.state == wanted.state)
    statement = statement.where(*_of_tab(business_id, wanted))
    if wanted.among is not None:
        statement = statement.where(conversations.c.id.in_(wanted.among))
    return statement


def list_named_conversations(tx: Tx, business_id: str, text: str, limit: int) -> list[str]:
    """List conversations whose person has these words in the name, or exactly this id on the platform."""
    accounts = select(channel_accounts.c.id).where(channel_accounts.c.business_id == business_id)
    has_external_id = and_(persons.c.channel_account_id.in_(accounts), persons.c.external_id == text)
    ways = [match_words(persons.c.name_key, text), has_external_id]
    mark = visitor_mark(text)
    if mark is not None:
        ways.append(and_(persons.c.name_key == "", match_mark(persons.c.id, mark)))
    # Each way has an index of its own; joined by "or" they would have none.
    named = union_all(
        *(select(persons.c.id).where(persons.c.business_id == business_id, way) for way in ways)
    )
    mine = select(conversations.c.id).where(
        conversations.c.business_id == business_id, conversations.c.person_id.in_(named)
    )
    latest = mine.order_by(conversations.c.last_message_at.desc()).limit(limit)
    return list(tx.execute(latest).scalars())


def _of_tab(business_id: str, wanted: ConversationFilter) -> list[ColumnElement[bool]]:
    table = conversations.c
    tabs: dict[str, list[ColumnElement[bool]]] = {
        "mine": [table.assignee_id == wanted.member_id],
        "mentions": [table.id.in_(conversations_naming(business_id, wanted.member_id))],
        "unassigned": [table.assignee_id.is_(None)],
        "waiting": [table.lead_id.is_not(None), table.waiting_since.is_not(None)],
        "late": [table.waiting_since <= wanted.late_before] if wanted.late_before else [false()],
        "unread": [table.unread > literal_column("0")],  # a number to fill in would hide the index
        "leads": [table.lead_id.is_not(None)],
    }
    return tabs.get(wanted.tab, [])


def list_late_conversations(
    tx: Tx, business_id: str, between: tuple[datetime, datetime], limit: int
) -> list[Conversation]:
    """Those on the desk in which somebody waits since some time between two moments, the longest first."""
    late = select(conversations).where(
        conversations.c.business_id == business_id,
        conversations.c.state == ThreadState.OPEN,
        conversations.c.waiting_since > between[0],
        conversations.c.waiting_since <= between[1],
    )
    return tx.list(Conversation, late.order_by(conversations.c.waiting_since).limit(limit))


def list_unread_lead_ids(_tx: Tx, business_id: str) -> Select[Any]:
    """Leads whose chats hold something unread, as a select for a larger statement."""
    mine = (conversations.c.business_id == business_id, conversations.c.lead_id.is_not(None))
    return select(conversations.c.lead_id).where(*mine, conversations.c.unread > literal_column("0"))


def list_waiting_lead_ids(_tx: Tx, business_id: str) -> Select[Any]:
    """Leads who wrote last and wait for an answer, as a select."""
    mine = (conversations.c.business_id == business_id, conversations.c.lead_id.is_not(None))
    return select(conversations.c.lead_id).where(*mine, conversations.c.waiting_since.is_not(None))


def record_message_time(
    tx: Tx, conversation: Conversation, at: datetime, *, from_customer: bool, is_automatic: bool = False
) -> None:
    """Move a conversation along: its last message, what is unread, and whether somebody waits.

    A customer's message opens it again; what a blocked person writes moves nothing but the time. An automatic
    message of the business is no answer to who waits.
    """
    record_moves(tx, [Move(conversation, at, from_customer, is_automatic)])


def record_moves(tx: Tx, moves: Iterable[Move]) -> None:
    """Move conversations along, in this order, as ``record_message_time`` says."""
    update_rows(tx, _MOVE, [_row_of_move(move) for move in moves])


def _row_of_move(move: Move) -> dict[str, Any]:
    of = move.conversation
    return {"of_business": of.business_id, "of_id": of.id, "moment": move.at, "kind": _kind_of(move)}


def _kind_of(move: Move) -> str:
    if move.is_automatic or move.conversation.state is ThreadState.BLOCKED:
        return "silent"
    return "customer" if move.from_customer else "business"


def moved(conversation: Conversation, moves: Iterable[Move], made: LeadMade | None) -> Conversation:
    """A conversation as moves leave it, and the lead that it made, by the same rules as in the table."""
    last, waiting = conversation.last_message_at, conversation.waiting_since
    unread, state = conversation.unread, conversation.state
    for move in moves:
        kind, is_late = _kind_of(move), last is not None and last > move.at
        if kind != "silent" and not is_late:
            waiting = (waiting or move.at) if kind == "customer" else None
        if kind == "customer":
            unread += 1
            state = state if state is ThreadState.BLOCKED else ThreadState.OPEN
        last = last if is_late else move.at
    return replace(
        conversation,
        last_message_at=last,
        unread=unread,
        state=state,
        waiting_since=waiting,
        lead_id=made.lead_id if made else conversation.lead_id,
    )


def record_desk(tx: Tx, conversation: Conversation, **values: Any) -> bool:
    """Change what lies on the desk; False when somebody changed it since it was read."""
    mine = _change_of(conversation.business_id, conversation.id)
    seen = mine.where(conversations.c.revision == conversation.revision)
    return tx.execute(seen.values(**values, revision=conversation.revision + 1)).rowcount == 1


def list_conversations_of_person(tx: Tx, business_id: str, person_id: str) -> list[Conversation]:
    mine = conversations.c.business_id == business_id
    return tx.list(Conversation, select(conversations).where(mine, conversations.c.person_id == person_id))


def list_ended_snoozes(tx: Tx, limit: int) -> list[Conversation]:
    """Snoozed conversations of all businesses whose time has come; for the timer only."""
    ended = select(conversations).where(
        conversations.c.state == ThreadState.SNOOZED, conversations.c.snoozed_until <= tx.now
    )
    return tx.list(Conversation, ended.limit(limit))


def record_starts(tx: Tx, started: Iterable[tuple[Conversation, datetime]]) -> None:
    """Note when persons wrote first, unless that was earlier."""
    rows = [{"of_business": each.business_id, "of_id": each.id, "moment": at} for each, at in started]
    update_rows(tx, _START, rows)


def record_business_read(tx: Tx, business_id: str, conversation_id: str) -> bool:
    """Note that the business has read a conversation that was unread; say whether it was."""
    mine = _change_of(business_id, conversation_id).where(conversations.c.unread > 0)
    return tx.execute(mine.values(unread=0, business_read_at=tx.now)).rowcount == 1


def record_customer_read(tx: Tx, conversation: Conversation, at: datetime) -> bool:
    """Note up to when the person has read; it never goes back, and then it says False."""
    known = conversations.c.customer_read_at
    mine = _change_of(conversation.business_id, conversation.id).where(or_(known.is_(None), known < at))
    return tx.execute(mine.values(customer_read_at=at)).rowcount == 1


_MADE: Final = (
    update(conversations)
    .where(*_ONE, or_(conversations.c.lead_id.is_(None), conversations.c.lead_id != bindparam("lead")))
    .values(lead_id=bindparam("lead"))
)


def record_leads(tx: Tx, made: Iterable[LeadMade]) -> None:
    """Note which leads conversations made; of several of one conversation the last counts."""
    last = {(each.business_id, each.conversation_id): each.lead_id for each in made}
    rows = [{"of_business": of, "of_id": talk, "lead": last[of, talk]} for of, talk in sorted(last)]
    update_rows(tx, _MADE, rows)


def _change_of(business_id: str, conversation_id: str) -> Update:
    return update(conversations).where(
        conversations.c.business_id == business_id, conversations.c.id == conversation_id
    )
