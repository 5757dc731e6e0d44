"""What tells spam from chats: what was said in them, whose leads were good, and who taps ads all day."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, Select, String, and_, bindparam, func, select, true

from contatto.channels.model import Sender
from contatto.inbox.store.conversations import conversations
from contatto.inbox.store.messages import messages
from contatto.kit.db.hot import Query
from contatto.kit.db.tx import Tx
from contatto.kit.db.within import within
from contatto.leads.model.leads import LeadStatus
from contatto.leads.store.records import leads
from contatto.measurement.store import IS_CLICK, touches
from contatto.spam.model import Mark
from contatto.spam.store import chats as judged_chats

_OF: Final = bindparam("of", type_=String())


def list_chats_of_good_leads(tx: Tx, business_id: str, limit: int) -> list[str]:
    """The latest chats whose leads are qualified or converted, by their ids."""
    theirs = and_(leads.c.id == conversations.c.lead_id, leads.c.business_id == conversations.c.business_id)
    good = leads.c.status.in_((LeadStatus.QUALIFIED, LeadStatus.CONVERTED))
    mine = select(conversations.c.id).join(leads, theirs)
    mine = mine.where(conversations.c.business_id == business_id, good)
    return list(tx.execute(mine.order_by(conversations.c.last_message_at.desc()).limit(limit)).scalars())


@dataclass(frozen=True, slots=True)
class Suspect:
    """A chat that is to be judged, by its id."""

    id: str
    channel_account_id: str
    person_id: str


_SUSPECTS: Final = Query(
    select(conversations.c.id, conversations.c.channel_account_id, conversations.c.person_id).where(
        conversations.c.business_id == _OF, within(conversations.c.id, "ids")
    )
)


def list_suspects(tx: Tx, business_id: str, conversation_ids: Collection[str]) -> list[Suspect]:
    """Those of some chats that are still there."""
    return [Suspect(*row) for row in _SUSPECTS.rows(tx, {"of": business_id, "ids": conversation_ids})]


_TAPS: Final = Query(
    select(touches.c.person_id, func.count())
    .where(
        touches.c.business_id == _OF, within(touches.c.person_id, "persons"), IS_CLICK,
        touches.c.ts >= bindparam("since", type_=BigInteger()),
    )
    .group_by(touches.c.person_id)
)  # fmt: skip


def count_taps(tx: Tx, business_id: str, person_ids: Collection[str], since_ts: int) -> dict[str, int]:
    """How often persons tapped ads since a microsecond; who did not is left out."""
    values = {"of": business_id, "persons": person_ids, "since": since_ts}
    return {row[0]: row[1] for row in _TAPS.rows(tx, values)}


_MARKED: Final = Query(
    select(conversations.c.person_id, conversations.c.id)
    .join(
        judged_chats,
        and_(
            judged_chats.c.business_id == conversations.c.business_id,
            judged_chats.c.conversation_id == conversations.c.id,
        ),
    )
    .where(
        conversations.c.business_id == _OF, within(conversations.c.person_id, "persons"),
        judged_chats.c.mark == bindparam("spam", type_=judged_chats.c.mark.type),
    )
)  # fmt: skip


def list_marked_chats(tx: Tx, business_id: str, person_ids: Collection[str]) -> dict[str, set[str]]:
    """The chats of persons that are marked as spam, by their ids; persons without one are left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for person_id, chat_id in _MARKED.rows(tx, {"of": business_id, "persons": person_ids, "spam": Mark.SPAM}):
        found[person_id].add(chat_id)
    return dict(found)


def _latest_of_each(on: str) -> Query:
    """The latest messages of each of some chats, as one query: the engines know no common way to say that."""
    latest = messages.alias("latest")
    theirs = (
        latest.c.business_id == conversations.c.business_id,
        latest.c.conversation_id == conversations.c.id,
    )
    some = select(latest).where(*theirs).order_by(latest.c.at.desc(), latest.c.seq.desc())
    some = some.limit(bindparam("each", type_=Integer()))
    said: Any = messages
    if on == "postgresql":
        said = some.lateral("said")
        both = conversations.join(said, true())
    else:
        seqs = some.with_only_columns(latest.c.seq).correlate(conversations)
        both = conversations.join(said, said.c.seq.in_(seqs))
    found: Select[Any] = select(
        said.c.conversation_id, said.c.sender, said.c.body, said.c.at, said.c.seq, said.c.id
    )
    here = conversations.c.business_id == _OF, within(conversations.c.id, "ids")
    return Query(found.select_from(both).where(*here))


_LATEST: Final = {on: _latest_of_each(on) for on in ("sqlite", "postgresql")}


def list_texts(tx: Tx, business_id: str, conversation_ids: Sequence[str], each: int) -> dict[str, list[str]]:
    """What customers wrote among the latest ``each`` messages of chats, the first first.

    However long a chat is, no more of it is read.
    """
    latest = _LATEST[tx.connection.dialect.name]
    rows = latest.rows(tx, {"of": business_id, "ids": conversation_ids, "each": each})
    found: dict[str, list[str]] = {conversation_id: [] for conversation_id in conversation_ids}
    for conversation_id, sender, body, _at, _seq, message_id in sorted(rows, key=itemgetter(3, 4)):
        if sender is Sender.CUSTOMER:
            found[conversation_id].append(tx.vault.open(body, business_id, "messages.body", message_id))
    return found
