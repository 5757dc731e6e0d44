"""Search for conversations by names, contact details and the texts of messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.store import list_able_members
from contatto.channels.model import Sender
from contatto.inbox import rules
from contatto.inbox.actions.threads import conversation_to_change
from contatto.inbox.model import (
    Conversation,
    ConversationChanged,
    ConversationMarkedSpam,
    ConversationRead,
    Mention,
    MessageReceived,
    PrivateNote,
    SavedReply,
    ThreadState,
)
from contatto.inbox.store import conversations, desk, messages
from contatto.inbox.store import desk as store
from contatto.kit import errors
from contatto.kit.clock import in_time
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id, new_id
from contatto.kit.outbox import emit, emit_all
from contatto.kit.timestamps import micros
from contatto.leads.actions import records as leads
from contatto.leads.actions.annotations import add_note, check_member, keep_label
from contatto.leads.actions.records import change_lead_status
from contatto.leads.model import Actor, Lead, LeadStatus, Origin, Signal, WorkAssigned
from contatto.leads.rules.filters import LeadFilter
from contatto.leads.rules.records import MOVES, fold_text, has_all_words
from contatto.leads.store.listing import list_leads
from contatto.leads.store.records import find_lead
from contatto.spam import store as spam
from contatto.spam.actions import MOST_MARKED, judge_chats, learn_words, list_rates_to_judge, mark_chat
from contatto.spam.model import Chat, Mark


@dataclass(frozen=True, slots=True)
class FoundConversations:
    """The matches of a search, and how far back it read messages.

    Attributes:
        ids: the matching conversations.
        oldest_at: time of the oldest message that was read.
        next_before: sequence number at which a search of older messages starts; None if there are none.
    """

    ids: frozenset[str]
    oldest_at: datetime | None = None
    next_before: int | None = None


def search_conversations(
    tx: Tx, business_id: str, query: str, limit: int = 200, before: int | None = None
) -> FoundConversations:
    """Find conversations whose person, lead or messages hold all words of a query.

    Names and contact details are searched at once. Messages are encrypted, so a search reads some thousand,
    newest first. With ``before`` it goes on to messages older than that sequence number, and reads no names.
    """
    words = fold_text(query).split()
    if not words:
        return FoundConversations(frozenset())
    ids: set[str] = set()
    if before is None:
        ids.update(conversations.list_named_conversations(tx, business_id, query.strip(), limit))
        leads = list_leads(tx, business_id, LeadFilter(text=query.strip()), limit=50)
        ids.update(lead.conversation_id for lead in leads if lead.conversation_id)
    last = None
    for message in messages.list_newest_texts(tx, business_id, rules.SEARCHED_MESSAGES, before):
        if len(ids) >= limit:
            return FoundConversations(frozenset(ids), last.at if last else None, message.seq + 1)
        last = message
        if message.conversation_id not in ids and has_all_words(fold_text(message.text), words):
            ids.add(message.conversation_id)
    if last is None:
        return FoundConversations(frozenset(ids))
    has_older = messages.has_messages_before(tx, business_id, last.seq)
    return FoundConversations(frozenset(ids), last.at, last.seq if has_older else None)


_READ: Final = 30
"""So many of the latest messages of a chat are judged."""
_DAY: Final = timedelta(days=1)


def judge_messages(tx: Tx, events: Sequence[MessageReceived]) -> None:
    """Customers wrote: judge their chats; a handler of the outbox.

    Before a business marks its first chat as spam none can look like it (see `judge_chat`), so none is read.
    """
    conversations_to_judge: dict[str, dict[str, None]] = {}
    for event in events:
        conversations_to_judge.setdefault(event.business_id, {})[event.conversation_id] = None
    # Always in the same order, so that two transactions never wait for each other.
    for business_id in sorted(conversations_to_judge):
        rates = list_rates_to_judge(tx, business_id)
        if rates:
            chats = _list_chats(tx, business_id, list(conversations_to_judge[business_id]))
            changed = judge_chats(tx, business_id, chats, rates)
            changes = [ConversationChanged(business_id, judged.conversation_id) for judged in changed]
            emit_all(tx, [(business_id, event) for event in changes])


def mark_conversation(tx: Tx, business_id: str, conversation_id: str, mark: Mark) -> None:
    """Take what a member says of a chat.

    Raises:
        Refused: NOT_FOUND.
    """
    conversation = conversation_to_change(tx, business_id, conversation_id)
    mark_chat(tx, business_id, conversation.id, conversation.channel_account_id, mark)


def learn_marked_chats(tx: Tx) -> int:
    """Learn the words of chats that were marked since the last time; say of how many businesses."""
    learned = 0
    for business_id in spam.list_businesses_to_learn(tx):
        bad = spam.list_marked(tx, business_id, Mark.SPAM, MOST_MARKED)
        fine = spam.list_marked(tx, business_id, Mark.FINE, MOST_MARKED)
        fine += store.list_chats_of_good_leads(tx, business_id, MOST_MARKED - len(fine))
        fine = [chat_id for chat_id in dict.fromkeys(fine) if chat_id not in bad]
        texts = [_list_texts(tx, business_id, ids).values() for ids in (bad, fine)]
        learned += learn_words(tx, business_id, *([text for text in some if text] for some in texts))
    return learned


def _list_chats(tx: Tx, business_id: str, conversation_ids: Sequence[str]) -> list[Chat]:
    """Chats as they are judged, with one query for each thing that is asked about them."""
    suspects = store.list_suspects(tx, business_id, conversation_ids)
    people = sorted({suspect.person_id for suspect in suspects})
    marked = store.list_marked_chats(tx, business_id, people)
    taps = store.count_taps(tx, business_id, people, micros(tx.now - _DAY))
    texts = _list_texts(tx, business_id, [suspect.id for suspect in suspects])
    return [
        Chat(
            business_id,
            suspect.id,
            suspect.channel_account_id,
            texts[suspect.id],
            has_marked=bool(marked.get(suspect.person_id, set()) - {suspect.id}),
            taps=taps.get(suspect.person_id, 0),
        )
        for suspect in suspects
    ]


def _list_texts(tx: Tx, business_id: str, conversation_ids: Sequence[str]) -> dict[str, str]:
    """Return the latest texts of customers."""
    texts_by_conversation = store.list_texts(tx, business_id, conversation_ids, _READ)
    return {conversation_id: "\n".join(texts) for conversation_id, texts in texts_by_conversation.items()}


SPAM_NOTE: Final = "Marked as spam in the inbox."


@dataclass(frozen=True, slots=True)
class SeenConversation:
    """The conversation as the member saw it."""

    conversation_id: str
    revision: int


def mark_conversation_as_lead(tx: Tx, business_id: str, conversation_id: str, actor: str) -> Lead:
    """Make a lead of a conversation's person by hand (R39).

    Raises:
        Refused: NOT_FOUND.
    """
    conversation = conversation_to_change(tx, business_id, conversation_id)
    person = conversations.load_person(tx, business_id, conversation.person_id)
    signal = Signal(
        business_id=business_id,
        person_id=conversation.person_id,
        channel_account_id=conversation.channel_account_id,
        conversation_id=conversation.id,
        origin=Origin.MANUAL,
        source_id=conversation.id,
        at=tx.now,
        contacts=(),
        stated_name=person.stated_name or None,
        profile_name=person.name,
        actor=actor,
    )
    lead = leads.mark_as_lead(tx, signal)
    conversations.record_leads(tx, [conversations.LeadMade(business_id, conversation_id, lead.id)])
    return lead


def note_conversation_read(tx: Tx, business_id: str, conversation_id: str, member_id: str = "") -> None:
    """Note that the business has read a conversation, and which member, and tell the customer's page.

    Raises:
        Refused: NOT_FOUND.
    """
    conversation_to_change(tx, business_id, conversation_id)
    conversations.mark_mentions_seen(tx, business_id, conversation_id, member_id)
    if conversations.record_business_read(tx, business_id, conversation_id):
        emit(tx, business_id, ConversationRead(business_id, conversation_id, Sender.BUSINESS))


def assign_conversation(tx: Tx, actor: Actor, expected: SeenConversation, member_id: str | None) -> None:
    """Give a conversation to a member, or to nobody.

    Raises:
        Refused: NOT_FOUND; INVALID for somebody who is no member; CONFLICT.
    """
    check_member(tx, actor.business_id, member_id, Permission.READ_INBOX)
    changed = _change(tx, actor, expected, {"assignee_id": member_id})
    if member_id and member_id not in (actor.member_id, changed.assignee_id):
        event = WorkAssigned(actor.business_id, "", changed.id, member_id, tx.now)
        emit(tx, actor.business_id, event)


def snooze_conversation(tx: Tx, actor: Actor, expected: SeenConversation, span: str) -> None:
    """Put a conversation away for a while; it comes back by itself, or when the customer writes.

    Raises:
        Refused: NOT_FOUND; INVALID for a span that is none; CONFLICT.
    """
    if span not in rules.SNOOZES:
        raise Refused(errors.INVALID, "span: choose one of %(choices)s.", choices=", ".join(rules.SNOOZES))
    until = tx.now + rules.SNOOZES[span]
    _change(tx, actor, expected, {"state": ThreadState.SNOOZED, "snoozed_until": until})


def resolve_conversation(tx: Tx, actor: Actor, expected: SeenConversation) -> None:
    """Lay a conversation down as done; nobody waits in it any more.

    Raises:
        Refused: NOT_FOUND; CONFLICT.
    """
    done = {"state": ThreadState.RESOLVED, "snoozed_until": None, "waiting_since": None, "unread": 0}
    _change(tx, actor, expected, done)


def reopen_conversation(tx: Tx, actor: Actor, expected: SeenConversation) -> None:
    """Take a conversation back to the desk.

    Raises:
        Refused: NOT_FOUND; CONFLICT, also for one that is blocked.
    """
    _change(tx, actor, expected, {"state": ThreadState.OPEN, "snoozed_until": None})


def _change(tx: Tx, actor: Actor, expected: SeenConversation, values: Mapping[str, Any]) -> Conversation:
    conversation = conversation_to_change(tx, actor.business_id, expected.conversation_id)
    if conversation.revision != expected.revision:
        raise Refused(errors.CONFLICT, "Somebody else changed this conversation. Nothing was overwritten.")
    if conversation.state is ThreadState.BLOCKED and "state" in values:
        raise Refused(errors.CONFLICT, "This person is blocked. Unblock them first.")
    if not conversations.record_desk(tx, conversation, **values):
        raise Refused(errors.CONFLICT, "Somebody else changed this conversation. Nothing was overwritten.")
    _tell(tx, conversation)
    return conversation


def _tell(tx: Tx, conversation: Conversation) -> None:
    emit(tx, conversation.business_id, ConversationChanged(conversation.business_id, conversation.id))


def block_person(tx: Tx, actor: Actor, expected: SeenConversation, *, is_spam: bool) -> None:
    """Block the person of a conversation: what they write later is kept, makes no lead and tells nobody.

    Spam marks their lead Unqualified too, and its note says why.

    Raises:
        Refused: NOT_FOUND; CONFLICT when somebody changed the conversation first.
    """
    conversation = conversation_to_change(tx, actor.business_id, expected.conversation_id)
    if conversation.revision != expected.revision:
        raise Refused(errors.CONFLICT, "Somebody else changed this conversation. Nothing was overwritten.")
    if is_spam:  # first, as who judges chats locks them in this order too
        mark_conversation(tx, actor.business_id, conversation.id, Mark.SPAM)
    conversations.record_blocked(tx, actor.business_id, conversation.person_id, is_blocked=True)
    away = {"state": ThreadState.BLOCKED, "snoozed_until": None, "waiting_since": None, "unread": 0}
    for other_conversation in conversations.list_conversations_of_person(
        tx, actor.business_id, conversation.person_id
    ):
        conversations.record_desk(tx, other_conversation, **away)
        _tell(tx, other_conversation)
    if is_spam:
        emit(tx, actor.business_id, ConversationMarkedSpam(actor.business_id, conversation.id))
    if is_spam and conversation.lead_id:
        _disqualify(tx, actor, conversation.lead_id)


def _disqualify(tx: Tx, actor: Actor, lead_id: str) -> None:
    lead = find_lead(tx, actor.business_id, lead_id)
    if lead is None or lead.hidden_at is not None or LeadStatus.UNQUALIFIED not in MOVES[lead.status]:
        return
    change_lead_status(tx, actor.business_id, lead_id, lead.status, LeadStatus.UNQUALIFIED, actor.name)
    add_note(tx, actor, lead_id, SPAM_NOTE)


def unblock_person(tx: Tx, actor: Actor, conversation_id: str, *, is_fine: bool = False) -> None:
    """Let a person's messages count again, from now on; those of the time before stay what they are.

    Where a member says that the chat ``is_fine``, it is no longer suspected, and learned from as such.

    Raises:
        Refused: NOT_FOUND.
    """
    conversation = conversation_to_change(tx, actor.business_id, conversation_id)
    if is_fine:
        mark_conversation(tx, actor.business_id, conversation.id, Mark.FINE)
        _tell(tx, conversation)
    conversations.record_blocked(tx, actor.business_id, conversation.person_id, is_blocked=False)
    for other_conversation in conversations.list_conversations_of_person(
        tx, actor.business_id, conversation.person_id
    ):
        if other_conversation.state is ThreadState.BLOCKED:
            conversations.record_desk(tx, other_conversation, state=ThreadState.OPEN)
            _tell(tx, other_conversation)


def wake_conversations(tx: Tx) -> int:
    """Bring back conversations whose snooze has ended; say how many."""
    woken = 0
    for conversation in in_time(conversations.list_ended_snoozes(tx, 200)):
        conversations.record_desk(tx, conversation, state=ThreadState.OPEN, snoozed_until=None)
        _tell(tx, conversation)
        woken += 1
    return woken


def label_conversation(tx: Tx, actor: Actor, conversation_id: str, name: str) -> None:
    """Put a label on a conversation; labels are those of the leads, and a new word makes a new one.

    Raises:
        Refused: NOT_FOUND; INVALID.
    """
    conversation = conversation_to_change(tx, actor.business_id, conversation_id)
    label = keep_label(tx, actor.business_id, name)
    if desk.append_conversation_label(tx, actor.business_id, conversation_id, label.id):
        _tell(tx, conversation)


def unlabel_conversation(tx: Tx, actor: Actor, conversation_id: str, label_id: str) -> None:
    """Take a label off.

    Raises:
        Refused: NOT_FOUND.
    """
    conversation = conversation_to_change(tx, actor.business_id, conversation_id)
    if desk.delete_conversation_label(tx, actor.business_id, conversation_id, label_id):
        _tell(tx, conversation)


def add_private_note(tx: Tx, actor: Actor, conversation_id: str, note_id: str, text: str) -> None:
    """Write a note that members alone see; the same ``note_id`` again changes nothing.

    Raises:
        Refused: NOT_FOUND; INVALID for an empty or too long text.
    """
    conversation = conversation_to_change(tx, actor.business_id, conversation_id)
    if not 0 < len(text.strip()) <= rules.NOTE_LIMIT:
        raise Refused(errors.INVALID, "text: use 1 to %(most)s characters.", most=rules.NOTE_LIMIT)
    note = PrivateNote(note_id, actor.business_id, conversation_id, text.strip(), actor.name, tx.now)
    if desk.append_private_note(tx, note):
        _mention_members(tx, actor, note)
        _tell(tx, conversation)


def _mention_members(tx: Tx, actor: Actor, note: PrivateNote) -> None:
    """Note whom a note names; who wrote it knows already."""
    able = list_able_members(tx, BusinessId(note.business_id), Permission.READ_INBOX)
    names_by_id: dict[str, str] = {member.id: member.display_name for member in able}
    for member_id in rules.mentioned_members(note.text, names_by_id) - {actor.member_id}:
        mention_id = named_id(note.id, member_id)
        row = (mention_id, note.business_id, note.id, note.conversation_id, member_id)
        conversations.append_mention(tx, Mention(*row, seen_at=None))


def set_reply_target(tx: Tx, business_id: str, minutes: int) -> None:
    """Set within how many minutes customers should have an answer; 0 sets none.

    Raises:
        Refused: INVALID.
    """
    if not 0 <= minutes <= rules.TARGET_LIMIT_MIN:
        raise Refused(
            errors.INVALID, "minutes: enter a whole number up to %(most)s.", most=rules.TARGET_LIMIT_MIN
        )
    desk.save_reply_target(tx, business_id, minutes)


def keep_saved_reply(tx: Tx, business_id: str, shortcut: str, text: str) -> None:
    """Keep a text under a shortcut; the same shortcut again replaces its text.

    Raises:
        Refused: INVALID.
    """
    word = shortcut.strip().removeprefix("/").lower()
    if not rules.SHORTCUT.fullmatch(word):
        raise Refused(errors.INVALID, "shortcut: use 1 to 30 letters, digits, - or _.")
    if not 0 < len(text.strip()) <= rules.TEXT_LIMIT:
        raise Refused(errors.INVALID, "text: use 1 to %(most)s characters.", most=rules.TEXT_LIMIT)
    tx.hold_key("saved replies", business_id)
    if desk.count_saved_replies(tx, business_id) >= rules.MOST_SAVED:
        raise Refused(
            errors.INVALID,
            "shortcut: you have the maximum of %(most)s. Delete one first.",
            most=rules.MOST_SAVED,
        )
    desk.save_reply(tx, SavedReply(new_id(), business_id, word, text.strip()))


def remove_saved_reply(tx: Tx, business_id: str, reply_id: str) -> None:
    """Forget a saved reply.

    Raises:
        Refused: NOT_FOUND.
    """
    if not desk.delete_saved_reply(tx, business_id, reply_id):
        raise Refused(errors.NOT_FOUND)
