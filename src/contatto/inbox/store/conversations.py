"""Tables of persons with sealed names, conversations, and mentions."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    Select,
    String,
    Table,
    UniqueConstraint,
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
from contatto.inbox.model import Conversation, InlineNotice, Mention, Person, ThreadState
from contatto.inbox.store.messages import is_answer_of_person, messages
from contatto.kit.db.statements import PreparedQuery, Query, insert_new, update_rows
from contatto.kit.db.tx import (
    Choice,
    Instant,
    Tx,
    Words,
    instant,
    key,
    metadata,
    only,
    row_of,
    rows_of,
    sealed,
    tenant,
    text,
    within,
)
from contatto.leads.rules.records import name_key, visitor_mark
from contatto.leads.store.annotations import list_leads_ever
from contatto.leads.store.listing import match_mark, match_words

persons = Table(
    "persons",
    metadata,
    key(),
    tenant(),
    Column("channel_account_id", String(36), nullable=False),
    Column("external_id", String(128), nullable=False),
    sealed("name", nullable=True),
    text("name_key", default=""),
    sealed("stated_name", nullable=True),
    sealed("address", nullable=True),
    instant("blocked_at", nullable=True),
    instant("stated_at", nullable=True),
    instant("created_at"),
    UniqueConstraint("business_id", "channel_account_id", "external_id"),
    Index("ix_persons_by_name", "business_id", "name_key", "id"),
)


_UNNAMED: Final = persons.c.name.is_(None)
_FIRST: Final = bindparam("first", type_=Instant())
_LATER: Final = persons.c.created_at > _FIRST
_UPDATE_PERSON: Final = (
    update(persons)
    .where(*rows_of(persons, bindparam("of_business"), id=bindparam("of_id")))
    .where(or_(_UNNAMED, _LATER))
    .values(
        name=case((_UNNAMED, bindparam("profile_name", type_=LargeBinary())), else_=persons.c.name),
        name_key=case((_UNNAMED, bindparam("profile_key", type_=String())), else_=persons.c.name_key),
        created_at=case((_LATER, _FIRST), else_=persons.c.created_at),
    )
)
_SAID_AT: Final = bindparam("said_at", type_=Instant())
_STATED: Final = (
    update(persons)
    .where(*rows_of(persons, bindparam("of_business"), id=bindparam("of_id")))
    .where(or_(persons.c.stated_at.is_(None), persons.c.stated_at <= _SAID_AT))
    .values(stated_name=bindparam("said", type_=LargeBinary()), stated_at=_SAID_AT)
)


def save_persons(tx: Tx, new_persons: Sequence[Person]) -> None:
    """Insert persons; those who are there get a name if they had none, and may have come earlier."""
    rows = [
        row_of(person)
        | {"name": _seal_name(tx, person), "name_key": name_key(person.name)}
        | {"stated_name": _seal_stated_name(tx, person)}
        for person in new_persons
    ]
    if insert_new(tx, persons, rows) < len(rows):
        record_persons_seen(tx, new_persons)


def _seal_name(tx: Tx, person: Person) -> bytes | None:
    return tx.seal(person.name, person.business_id, "persons.name", person.id)


def _seal_stated_name(tx: Tx, person: Person) -> bytes | None:
    return tx.seal(person.stated_name, person.business_id, "persons.stated_name", person.id)


def record_persons_seen(tx: Tx, seen_persons: Iterable[Person]) -> None:
    """Persons who are there get a name if they had none, and may have come earlier."""
    rows = [
        {
            "of_business": person.business_id,
            "of_id": person.id,
            "profile_name": _seal_name(tx, person),
            "profile_key": name_key(person.name),
            "first": person.created_at,
        }
        for person in seen_persons
    ]
    update_rows(tx, _UPDATE_PERSON, rows)


def record_blocked(tx: Tx, business_id: str, person_id: str, *, is_blocked: bool) -> None:
    tx.change(persons, business_id, person_id, blocked_at=tx.now if is_blocked else None)


def is_blocked(tx: Tx, business_id: str, person_id: str) -> bool:
    query = select(persons.c.id).where(*rows_of(persons, business_id, id=person_id))
    return tx.scalar(query.where(persons.c.blocked_at.is_not(None))) is not None


def record_address(tx: Tx, business_id: str, person_id: str, address: str) -> None:
    """Keep what a platform needs to reach a person where that is a contact detail itself, sealed."""
    sealed_address = tx.vault.seal(address, business_id, "persons.address", person_id)
    tx.change(persons, business_id, person_id, persons.c.address.is_(None), address=sealed_address)


def find_address(tx: Tx, business_id: str, person_id: str) -> str | None:
    query = select(persons.c.address).where(*rows_of(persons, business_id, id=person_id))
    address = tx.scalar(query)
    place = business_id, "persons.address", person_id
    return None if address is None else tx.vault.open(address, *place)


def record_stated_names(tx: Tx, stated: Iterable[Person]) -> None:
    """Keep the names that persons stated, in this order, unless a later message stated another."""
    rows = [
        {
            "of_business": person.business_id,
            "of_id": person.id,
            "said": _seal_stated_name(tx, person),
            "said_at": person.stated_at,
        }
        for person in stated
    ]
    update_rows(tx, _STATED, rows)


def load_person(tx: Tx, business_id: str, person_id: str) -> Person:
    """Return the person of a conversation, who is always there."""
    return tx.list(Person, select(persons).where(*rows_of(persons, business_id, id=person_id)))[0]


_PERSONS_OF_MANY: Final = PreparedQuery(
    Person, select(persons).where(within(persons.c.business_id, "businesses"), within(persons.c.id, "ids"))
)


def list_persons_of_many(tx: Tx, business_ids: Collection[str], person_ids: Collection[str]) -> list[Person]:
    """Persons of several businesses, for the worker."""
    return _PERSONS_OF_MANY.list(tx, {"businesses": business_ids, "ids": person_ids})


def list_persons(tx: Tx, business_id: str, person_ids: set[str]) -> dict[str, Person]:
    query = select(persons).where(persons.c.business_id == business_id, persons.c.id.in_(person_ids))
    return {person.id: person for person in tx.list(Person, query)}


mentions = Table(
    "note_mentions",
    metadata,
    key(),
    tenant(),
    Column("note_id", String(36), nullable=False),
    Column("conversation_id", String(36), nullable=False),
    Column("member_id", String(36), nullable=False),
    instant("seen_at", nullable=True),
    UniqueConstraint("note_id", "member_id"),
    Index("ix_note_mentions_of_member", "business_id", "member_id", "conversation_id"),
)


def append_mention(tx: Tx, mention: Mention) -> bool:
    """Append a mention; False when it was there before."""
    return tx.insert_ignore(mentions, row_of(mention))


def mark_mentions_seen(tx: Tx, business_id: str, conversation_id: str, member_id: str) -> bool:
    """Note that a member has seen where a thread names them; False when there was nothing new."""
    fresh = update(mentions).where(
        *rows_of(mentions, business_id, conversation_id=conversation_id, member_id=member_id),
        mentions.c.seen_at.is_(None),
    )
    return tx.execute(fresh.values(seen_at=tx.now)).rowcount > 0


def list_unseen_mentions(tx: Tx, business_id: str, member_id: str) -> set[str]:
    """Return the conversations with a mention that the member has not seen."""
    query = conversations_naming(business_id, member_id).where(mentions.c.seen_at.is_(None))
    return set(tx.execute(query).scalars())


def conversations_naming(business_id: str, member_id: str) -> Select[tuple[str]]:
    """Return the ids of the conversations with a note that names a member, as a part of other statements."""
    return select(mentions.c.conversation_id).where(*rows_of(mentions, business_id, member_id=member_id))


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
    """Filter of conversations.

    Attributes:
        tab: all, mine, mentions, unassigned, waiting (leads without an answer), late (without an answer
            since ``late_before``), unread or leads.
        among: these alone; None for all.
        state: where on the desk they lie; None for everywhere but blocked.
        member_id: member who reads the list.
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
    """Mark of a conversation that made a lead."""

    business_id: str
    conversation_id: str
    lead_id: str


def save_conversations(tx: Tx, new_conversations: Iterable[Conversation]) -> int:
    """Insert conversations; those that are there stay as they are. Say how many were not there before."""
    return insert_new(tx, conversations, [row_of(conversation) for conversation in new_conversations])


_ONE = rows_of(conversations, bindparam("of_business"), id=bindparam("of_id"))
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
_TO_MOVE: Final = PreparedQuery(Conversation, _OF_MANY)
_LOCKED: Final = PreparedQuery(Conversation, _OF_MANY.order_by(conversations.c.id).with_for_update())


def list_conversations_to_move(
    tx: Tx, business_ids: Collection[str], conversation_ids: Collection[str]
) -> list[Conversation]:
    """Return conversations of several businesses, locked until the end of the transaction; for the worker."""
    values = {"businesses": business_ids, "ids": conversation_ids}
    return (_LOCKED if tx.locks_rows else _TO_MOVE).list(tx, values)


def find_conversation(tx: Tx, business_id: str, conversation_id: str) -> Conversation | None:
    return tx.find(Conversation, _FIND, {"of_business": business_id, "of_id": conversation_id})


def list_conversations(
    tx: Tx,
    business_id: str,
    conversation_filter: ConversationFilter,
    limit: int = 50,
    before: datetime | None = None,
) -> list[Conversation]:
    """Return conversations with at least one message, latest first."""
    statement = _matching(select(conversations), business_id, conversation_filter)
    if before is not None:
        statement = statement.where(conversations.c.last_message_at < before)
    return tx.list(Conversation, statement.order_by(conversations.c.last_message_at.desc()).limit(limit))


def list_conversations_of_account(
    tx: Tx, business_id: str, account_id: str, span: tuple[int, int], *, is_answered: bool
) -> list[Conversation]:
    """Return conversations of an account with messages, latest first; ``span`` is offset and limit.

    Answered are those in which a message of the business stands that did not write itself.
    """
    answered = select(messages.c.id).where(
        messages.c.business_id == business_id,
        messages.c.conversation_id == conversations.c.id,
        is_answer_of_person(messages),
    )
    query = select(conversations).where(
        *rows_of(conversations, business_id, channel_account_id=account_id),
        conversations.c.last_message_at.is_not(None),
        answered.exists() if is_answered else ~answered.exists(),
    )
    latest = query.order_by(conversations.c.last_message_at.desc(), conversations.c.id)
    return tx.list(Conversation, latest.offset(span[0]).limit(span[1]))


def count_conversations(tx: Tx, business_id: str, conversation_filter: ConversationFilter) -> int:
    counted = _matching(select(func.count()).select_from(conversations), business_id, conversation_filter)
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


def count_tabs(
    tx: Tx, business_id: str, conversation_filter: ConversationFilter, tabs: Iterable[str]
) -> dict[str, int]:
    """Count conversations by tab, in one pass along an index."""
    rules = {tab: _of_tab(business_id, replace(conversation_filter, tab=tab)) for tab in tabs}
    counts = [
        (func.count().filter(and_(*rule)) if rule else func.count()).label(tab) for tab, rule in rules.items()
    ]
    counted: Any = select(*counts).select_from(conversations)
    statement = _matching(counted, business_id, replace(conversation_filter, tab="all"))
    return {tab: int(count) for tab, count in tx.execute(statement).mappings().one().items()}


def _matching(
    statement: Select[Any], business_id: str, conversation_filter: ConversationFilter
) -> Select[Any]:
    has_message = conversations.c.last_message_at.is_not(None)
    statement = statement.where(conversations.c.business_id == business_id, has_message)
    if conversation_filter.state is None:
        statement = statement.where(conversations.c.state != ThreadState.BLOCKED)
    else:
        statement = statement.where(conversations.c.state == conversation_filter.state)
    statement = statement.where(*_of_tab(business_id, conversation_filter))
    if conversation_filter.among is not None:
        statement = statement.where(conversations.c.id.in_(conversation_filter.among))
    return statement


def list_named_conversations(tx: Tx, business_id: str, text: str, limit: int) -> list[str]:
    """List conversations with these words in the person's name, or exactly this id on the platform."""
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
    query = select(conversations.c.id).where(
        conversations.c.business_id == business_id, conversations.c.person_id.in_(named)
    )
    latest = query.order_by(conversations.c.last_message_at.desc()).limit(limit)
    return list(tx.execute(latest).scalars())


def _of_tab(business_id: str, conversation_filter: ConversationFilter) -> list[ColumnElement[bool]]:
    table = conversations.c
    tabs: dict[str, list[ColumnElement[bool]]] = {
        "mine": [table.assignee_id == conversation_filter.member_id],
        "mentions": [table.id.in_(conversations_naming(business_id, conversation_filter.member_id))],
        "unassigned": [table.assignee_id.is_(None)],
        "waiting": [table.lead_id.is_not(None), table.waiting_since.is_not(None)],
        "late": [table.waiting_since <= conversation_filter.late_before]
        if conversation_filter.late_before
        else [false()],
        "unread": [table.unread > literal_column("0")],  # a number to fill in would hide the index
        "leads": [table.lead_id.is_not(None)],
    }
    return tabs.get(conversation_filter.tab, [])


def list_late_conversations(
    tx: Tx, business_id: str, between: tuple[datetime, datetime], limit: int
) -> list[Conversation]:
    """Return conversations that have waited since a time between two moments, the longest first."""
    late = select(conversations).where(
        *rows_of(conversations, business_id, state=ThreadState.OPEN),
        conversations.c.waiting_since > between[0],
        conversations.c.waiting_since <= between[1],
    )
    return tx.list(Conversation, late.order_by(conversations.c.waiting_since).limit(limit))


def list_unread_lead_ids(_tx: Tx, business_id: str) -> Select[Any]:
    """Return a select of leads with unread chats, for a larger statement."""
    conditions = (conversations.c.business_id == business_id, conversations.c.lead_id.is_not(None))
    return select(conversations.c.lead_id).where(*conditions, conversations.c.unread > literal_column("0"))


def list_waiting_lead_ids(_tx: Tx, business_id: str) -> Select[Any]:
    """Return leads who wrote last and wait for an answer, as a select."""
    conditions = (conversations.c.business_id == business_id, conversations.c.lead_id.is_not(None))
    return select(conversations.c.lead_id).where(*conditions, conversations.c.waiting_since.is_not(None))


def record_moves(tx: Tx, moves: Iterable[Move]) -> None:
    """Record messages in their conversations: the last message, the unread count, and the waiting state.

    A customer's message opens it again; what a blocked person writes moves nothing but the time. An automatic
    message of the business is no answer to who waits.
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
    update_rows(tx, _MOVE, rows)


def _kind_of(move: Move) -> str:
    if move.is_automatic or move.conversation.state is ThreadState.BLOCKED:
        return "silent"
    return "customer" if move.from_customer else "business"


def moved(conversation: Conversation, moves: Iterable[Move], lead_mark: LeadMade | None) -> Conversation:
    """Return a conversation after moves, with the lead that it made, by the same rules as in the table."""
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
        lead_id=lead_mark.lead_id if lead_mark else conversation.lead_id,
    )


def record_desk(tx: Tx, conversation: Conversation, **values: Any) -> bool:
    """Change what lies on the desk; False when somebody changed it since it was read."""
    unchanged = conversations.c.revision == conversation.revision
    values["revision"] = conversation.revision + 1
    return tx.change(conversations, conversation.business_id, conversation.id, unchanged, **values)


def list_conversations_of_person(tx: Tx, business_id: str, person_id: str) -> list[Conversation]:
    return tx.list(
        Conversation, select(conversations).where(*rows_of(conversations, business_id, person_id=person_id))
    )


def list_ended_snoozes(tx: Tx, limit: int) -> list[Conversation]:
    """Return snoozed conversations of all businesses that are due; for the timer only."""
    ended = select(conversations).where(
        conversations.c.state == ThreadState.SNOOZED, conversations.c.snoozed_until <= tx.now
    )
    return tx.list(Conversation, ended.limit(limit))


def record_starts(tx: Tx, started: Iterable[tuple[Conversation, datetime]]) -> None:
    """Note when persons wrote first, unless that was earlier."""
    rows = [
        {"of_business": conversation.business_id, "of_id": conversation.id, "moment": at}
        for conversation, at in started
    ]
    update_rows(tx, _START, rows)


def record_business_read(tx: Tx, business_id: str, conversation_id: str) -> bool:
    """Note that the business has read a conversation that was unread; say whether it was."""
    values = {"unread": 0, "business_read_at": tx.now}
    return tx.change(conversations, business_id, conversation_id, conversations.c.unread > 0, **values)


def record_customer_read(tx: Tx, conversation: Conversation, at: datetime) -> bool:
    """Note up to when the person has read; it never goes back, and then it says False."""
    read_at = conversations.c.customer_read_at
    is_later = or_(read_at.is_(None), read_at < at)
    own = conversation.business_id, conversation.id
    return tx.change(conversations, *own, is_later, customer_read_at=at)


_UPDATE_LEAD: Final = (
    update(conversations)
    .where(*_ONE, or_(conversations.c.lead_id.is_(None), conversations.c.lead_id != bindparam("lead")))
    .values(lead_id=bindparam("lead"))
)


def record_leads(tx: Tx, lead_marks: Iterable[LeadMade]) -> None:
    """Note which leads conversations made; of several of one conversation the last counts."""
    last = {(mark.business_id, mark.conversation_id): mark.lead_id for mark in lead_marks}
    rows = [
        {"of_business": business_id, "of_id": talk, "lead": last[business_id, talk]}
        for business_id, talk in sorted(last)
    ]
    update_rows(tx, _UPDATE_LEAD, rows)


inline_notices = Table(
    "inline_notices",
    metadata,
    key(),
    tenant(),
    Column("conversation_id", String(36), nullable=False),
    Column("lead_id", String(36), nullable=False),
    Column("fields", Words, nullable=False),
    instant("at"),
    Index("ix_inline_notices_of_lead", "lead_id"),
)


_EXISTING: Final = Query(
    select(inline_notices.c.id).where(
        within(inline_notices.c.business_id, "businesses"), within(inline_notices.c.id, "ids")
    )
)


def append_notices(tx: Tx, posted: Iterable[InlineNotice]) -> list[InlineNotice]:
    """Append inline notices; give those that were not there before."""
    first = {notice.id: notice for notice in posted}
    if not first:
        return []
    values = {"businesses": {notice.business_id for notice in first.values()}, "ids": list(first)}
    existing_ids = {notice for (notice,) in _EXISTING.rows(tx, values)}
    new = [notice for notice in first.values() if notice.id not in existing_ids]
    insert_new(tx, inline_notices, [row_of(notice) for notice in new])
    return new


def delete_lead_marks(tx: Tx, business_id: str, lead_id: str) -> None:
    """Forget which conversations made a lead, and its notices."""
    conditions = rows_of(conversations, business_id, lead_id=lead_id)
    tx.execute(update(conversations).where(*conditions).values(lead_id=None))
    tx.delete(inline_notices, business_id, lead_id=lead_id)


def list_notices(tx: Tx, business_id: str, conversation_id: str) -> list[InlineNotice]:
    """Return the notices in a thread, oldest first: they hang on the leads that its person ever was.

    Ids of leads follow from the time, so in the index by them new notices lie beside each other.
    """
    conversation = find_conversation(tx, business_id, conversation_id)
    leads = list_leads_ever(tx, business_id, {conversation.person_id}) if conversation else set[str]()
    query = select(inline_notices).where(*_notice_conditions(business_id, leads, {conversation_id}))
    return tx.list(InlineNotice, query.order_by(inline_notices.c.at))


def delete_notices(
    tx: Tx, business_id: str, person_ids: Collection[str], conversation_ids: Collection[str]
) -> None:
    leads = list_leads_ever(tx, business_id, person_ids)
    tx.execute(inline_notices.delete().where(*_notice_conditions(business_id, leads, conversation_ids)))


def _notice_conditions(
    business_id: str, lead_ids: Collection[str], conversation_ids: Collection[str]
) -> tuple[ColumnElement[bool], ...]:
    return (
        inline_notices.c.business_id == business_id,
        inline_notices.c.lead_id.in_(lead_ids),
        inline_notices.c.conversation_id.in_(conversation_ids),
    )
