"""Threads of persons: state, owner, labels, notes, search and erasure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa

from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.store import list_able_members
from contatto.capture.rules import detect_contacts
from contatto.channels.model import ChannelAccount, Chatted, MessageKind, Platform, Referred, Sender, WasRead
from contatto.channels.store import CONNECTORS, channel_accounts, find_account
from contatto.inbox import model, rules
from contatto.inbox.actions.incoming import Threads, conversation_id_of
from contatto.inbox.store import conversations, desk, messages
from contatto.kit import errors
from contatto.kit.api_types import Answer
from contatto.kit.db.tx import Tx, in_time, rows_of
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id, new_id
from contatto.kit.outbox import emit
from contatto.leads.actions import records as leads
from contatto.leads.actions.annotations import add_note, check_member, keep_label
from contatto.leads.actions.records import change_lead_status
from contatto.leads.model import (
    Actor,
    ErasedPeople,
    Lead,
    LeadRemoved,
    LeadStatus,
    Origin,
    Signal,
    WorkAssigned,
)
from contatto.leads.rules.records import MOVES, LeadFilter, fold_text, has_all_words, visitor_mark
from contatto.leads.store.listing import list_leads, match_mark, match_words
from contatto.leads.store.records import find_lead, list_leads_ever
from contatto.leads.store.tables import leads as leads_table
from contatto.measurement.model import MeasuredAd, Touch, TouchKind
from contatto.measurement.store import list_measured_ads, list_touches_of
from contatto.spam import store as spam
from contatto.spam.actions import MOST_MARKED, forget_verdicts, learn_words, mark_chat
from contatto.spam.model import Mark
from contatto.subscriptions import actions as pushes


def conversation_to_change(tx: Tx, business_id: str, conversation_id: str) -> model.Conversation:
    """Return a conversation of the business, locked. Raises Refused: NOT_FOUND."""
    locked = conversations.TO_CHANGE.list(tx, {"businesses": [business_id], "ids": [conversation_id]})
    if not locked:
        raise Refused(errors.NOT_FOUND)
    return locked[0]


def forget_lead(tx: Tx, event: LeadRemoved) -> None:
    """Take the mark and the notices of a lead out of its thread; a handler of the outbox."""
    own = rows_of(conversations.conversations, event.business_id, lead_id=event.lead_id)
    tx.execute(conversations.conversations.update().where(*own).values(lead_id=None))
    tx.delete(conversations.inline_notices, event.business_id, lead_id=event.lead_id)


type MessageType = Literal["TEXT", "IMAGE", "OTHER"]
type MessageSource = Literal["API", "APP", "OTHERS"]
MESSAGE_TYPES: Final[Mapping[MessageKind, MessageType]] = {
    MessageKind.TEXT: "TEXT",
    MessageKind.AUTOMATIC: "TEXT",
    MessageKind.FORM: "TEXT",
    MessageKind.PHOTO: "IMAGE",
    MessageKind.OTHER: "OTHER",
}


def load_business_conversation(tx: Tx, account: ChannelAccount, conversation_id: str) -> model.Conversation:
    """Return a conversation of the account, by our id or its platform's. Raises NOT_FOUND."""
    for candidate_id in (conversation_id, conversation_id_of(account, conversation_id)):
        conversation = conversations.find_conversation(tx, account.business_id, candidate_id)
        if conversation is not None and conversation.channel_account_id == account.id:
            return conversation
    raise Refused(errors.NOT_FOUND, "conversation_id: this account has no conversation with this id.")


def shown_id(account: ChannelAccount, conversation: model.Conversation) -> str:
    """Return the id of a conversation in the API: the platform's own on TikTok, ours elsewhere."""
    return conversation.external_id if account.platform is Platform.TIKTOK else conversation.id


def business_open_id(account: ChannelAccount) -> str:
    return account.external_id or account.id


class SideInfo(Answer, frozen=True):
    role: Literal["PERSONAL_ACCOUNT", "BUSINESS_ACCOUNT"]
    id: str
    display_name: str


class Sides(NamedTuple):
    from_user: SideInfo
    to_user: SideInfo


def show_sides(account: ChannelAccount, person: model.Person, sender: Sender) -> Sides:
    """Return sender and recipient of a message, in the words of the API."""
    customer = SideInfo("PERSONAL_ACCOUNT", person.external_id, person.name)
    business = SideInfo("BUSINESS_ACCOUNT", business_open_id(account), account.name)
    return Sides(customer, business) if sender is Sender.CUSTOMER else Sides(business, customer)


def source_of_message(message: model.Message) -> MessageSource:
    """Return the platform of a message, in the words of the API."""
    if message.kind is MessageKind.AUTOMATIC:
        return "OTHERS"
    return "API" if message.author else "APP"


def list_own_taps(tx: Tx, conversation: model.Conversation) -> list[tuple[Touch, MeasuredAd]]:
    """Return the person's clicks on our own ads; those on others stand as referrals."""
    touches = list_touches_of(tx, conversation.business_id, conversation.person_id)
    taps = [touch for touch in touches if touch.kind is TouchKind.CLICK]
    ads = list_measured_ads(tx, conversation.business_id, {touch.ad_id for touch in taps})
    return [(tap, ads[tap.ad_id]) for tap in taps if tap.ad_id in ads and not ads[tap.ad_id].platform]


@dataclass(frozen=True, slots=True)
class FoundConversations:
    """Matches of a search, and how far back it read messages; a next one starts at ``next_before``."""

    ids: frozenset[str]
    oldest_at: datetime | None = None
    next_before: int | None = None


def search_conversations(
    tx: Tx, business_id: str, query: str, limit: int = 200, before: int | None = None
) -> FoundConversations:
    """Find conversations with all words of a query in their person, lead or messages.

    Names and contact details are searched at once. Messages are encrypted, so a search reads some thousand,
    newest first. With ``before`` it goes on to messages older than that sequence number, and reads no names.
    """
    words = fold_text(query).split()
    if not words:
        return FoundConversations(frozenset())
    ids: set[str] = set()
    if before is None:
        # Find the words in names of persons, or exactly this id on a platform. Each way has an index of its
        # own; joined by "or" they would have none.
        persons, accounts, chats = conversations.persons.c, channel_accounts.c, conversations.conversations.c
        own_accounts = sa.select(accounts.id).where(accounts.business_id == business_id)
        has_external_id = sa.and_(
            persons.channel_account_id.in_(own_accounts), persons.external_id == query.strip()
        )
        ways = [match_words(persons.name_key, query.strip()), has_external_id]
        mark = visitor_mark(query.strip())
        if mark is not None:
            ways.append(sa.and_(persons.name_key == "", match_mark(persons.id, mark)))
        named = sa.union_all(
            *(sa.select(persons.id).where(persons.business_id == business_id, way) for way in ways)
        )
        chats_of_named = sa.select(chats.id).where(
            chats.business_id == business_id, chats.person_id.in_(named)
        )
        latest = chats_of_named.order_by(chats.last_message_at.desc()).limit(limit)
        ids.update(tx.execute(latest).scalars())
        leads = list_leads(tx, business_id, LeadFilter(text=query.strip()), limit=50)
        ids.update(lead.conversation_id for lead in leads if lead.conversation_id)
    sent = conversations.messages.c
    newest = sa.select(sent.seq, sent.id, sent.conversation_id, sent.at, sent.body)
    newest = newest.where(sent.business_id == business_id)
    if before is not None:
        newest = newest.where(sent.seq < before)
    oldest_at, most = None, rules.SEARCHED_MESSAGES
    for place, row in enumerate(tx.execute(newest.order_by(sent.seq.desc()).limit(most + 1))):
        if len(ids) >= limit or place == most:
            return FoundConversations(frozenset(ids), oldest_at, row.seq + 1)
        oldest_at = row.at
        text = tx.open_text(row.body, business_id, "messages.body", row.id)
        if row.conversation_id not in ids and has_all_words(fold_text(text), words):
            ids.add(row.conversation_id)
    return FoundConversations(frozenset(ids), oldest_at)


def learn_marked_chats(tx: Tx) -> int:
    """Learn the words of chats that were marked since the last time; say of how many businesses."""
    learned = 0
    for business_id in spam.list_businesses_to_learn(tx):
        bad = spam.list_marked(tx, business_id, Mark.SPAM, MOST_MARKED)
        fine = spam.list_marked(tx, business_id, Mark.FINE, MOST_MARKED)
        # Chats with qualified or converted leads are fine too.
        chats = conversations.conversations
        good = sa.select(chats.c.id).join(
            leads_table,
            sa.and_(leads_table.c.id == chats.c.lead_id, leads_table.c.business_id == chats.c.business_id),
        )
        good = good.where(
            chats.c.business_id == business_id,
            leads_table.c.status.in_((LeadStatus.QUALIFIED, LeadStatus.CONVERTED)),
        )
        latest = good.order_by(chats.c.last_message_at.desc()).limit(MOST_MARKED - len(fine))
        fine += tx.execute(latest).scalars()
        fine = [chat_id for chat_id in dict.fromkeys(fine) if chat_id not in bad]
        texts = [desk.list_texts(tx, business_id, ids).values() for ids in (bad, fine)]
        learned += learn_words(tx, business_id, *([text for text in some if text] for some in texts))
    return learned


SPAM_NOTE: Final = "Marked as spam in the inbox."


@dataclass(frozen=True, slots=True)
class SeenConversation:
    conversation_id: str
    revision: int


_AWAY: Final[Mapping[str, Any]] = {"snoozed_until": None, "waiting_since": None, "unread": 0}
"""Values of a conversation that lies on the desk no more."""


def mark_conversation_as_lead(tx: Tx, business_id: str, conversation_id: str, actor: str) -> Lead:
    """Make a lead of a conversation's person by hand (R39). Raises Refused: NOT_FOUND."""
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
    conversations.record_leads(tx, {(business_id, conversation_id): lead.id})
    return lead


def note_conversation_read(tx: Tx, business_id: str, conversation_id: str, member_id: str = "") -> None:
    """Note that a member has read a conversation; update the customer's page. Raises NOT_FOUND."""
    conversation_to_change(tx, business_id, conversation_id)
    named = rows_of(desk.mentions, business_id, conversation_id=conversation_id, member_id=member_id)
    unseen = desk.mentions.update().where(*named, desk.mentions.c.seen_at.is_(None))
    tx.execute(unseen.values(seen_at=tx.now))
    is_unread = conversations.conversations.c.unread > 0
    read = {"unread": 0, "business_read_at": tx.now}
    if tx.change(conversations.conversations, business_id, conversation_id, is_unread, **read):
        emit(tx, business_id, model.ConversationRead(business_id, conversation_id, Sender.BUSINESS))


def assign_conversation(tx: Tx, actor: Actor, expected: SeenConversation, member_id: str | None) -> None:
    """Assign a conversation to a member, or to none. Raises NOT_FOUND; INVALID; CONFLICT."""
    check_member(tx, actor.business_id, member_id, Permission.READ_INBOX)
    changed = _change(tx, actor, expected, assignee_id=member_id)
    if member_id and member_id not in (actor.member_id, changed.assignee_id):
        event = WorkAssigned(actor.business_id, "", changed.id, member_id, tx.now)
        emit(tx, actor.business_id, event)


def set_thread_state(
    tx: Tx, actor: Actor, expected: SeenConversation, state: model.ThreadState, span: str = ""
) -> None:
    """Snooze a conversation for a span, resolve it, or reopen it.

    A resolved one waits for no answer any more. A message of the customer reopens both.

    Raises Refused: NOT_FOUND; INVALID for an unknown span; CONFLICT, also for a blocked conversation.
    """
    values: dict[str, Any] = {"snoozed_until": None}
    if state is model.ThreadState.SNOOZED:
        if span not in rules.SNOOZES:
            raise Refused(
                errors.INVALID, "span: choose one of %(choices)s.", choices=", ".join(rules.SNOOZES)
            )
        values = {"snoozed_until": tx.now + rules.SNOOZES[span]}
    elif state is model.ThreadState.RESOLVED:
        values = dict(_AWAY)
    _change(tx, actor, expected, state=state, **values)


def _load_seen(tx: Tx, actor: Actor, expected: SeenConversation) -> model.Conversation:
    """Return a conversation as the member saw it, locked. Raises Refused: NOT_FOUND; CONFLICT."""
    conversation = conversation_to_change(tx, actor.business_id, expected.conversation_id)
    if conversation.revision != expected.revision:
        raise Refused(errors.CONFLICT, "Somebody else changed this conversation. Nothing was overwritten.")
    return conversation


def _change(tx: Tx, actor: Actor, expected: SeenConversation, **values: Any) -> model.Conversation:
    conversation = _load_seen(tx, actor, expected)
    if conversation.state is model.ThreadState.BLOCKED and "state" in values:
        raise Refused(errors.CONFLICT, "This person is blocked. Unblock them first.")
    conversations.record_desk(tx, conversation, **values)
    emit_change(tx, conversation.business_id, conversation.id)
    return conversation


def emit_change(tx: Tx, business_id: str, conversation_id: str) -> None:
    emit(tx, business_id, model.ConversationChanged(business_id, conversation_id))


def block_person(tx: Tx, actor: Actor, expected: SeenConversation, *, is_spam: bool) -> None:
    """Block the person of a conversation: later messages are kept, but make no lead and no notification.

    Spam marks their lead Unqualified too, and its note says why. Raises NOT_FOUND; CONFLICT.
    """
    conversation = _load_seen(tx, actor, expected)
    if is_spam:  # first, as who judges chats locks them in this order too
        mark_chat(tx, actor.business_id, conversation.id, conversation.channel_account_id, Mark.SPAM)
    tx.change(conversations.persons, actor.business_id, conversation.person_id, blocked_at=tx.now)
    for chat in conversations.list_conversations_of(tx, actor.business_id, {conversation.person_id}):
        conversations.record_desk(tx, chat, state=model.ThreadState.BLOCKED, **_AWAY)
        emit_change(tx, chat.business_id, chat.id)
    if is_spam:
        emit(tx, actor.business_id, model.ConversationMarkedSpam(actor.business_id, conversation.id))
    lead = (
        find_lead(tx, actor.business_id, conversation.lead_id) if is_spam and conversation.lead_id else None
    )
    if lead is not None and lead.hidden_at is None and LeadStatus.UNQUALIFIED in MOVES[lead.status]:
        change_lead_status(tx, actor.business_id, lead.id, lead.status, LeadStatus.UNQUALIFIED, actor.name)
        add_note(tx, actor, lead.id, SPAM_NOTE)


def unblock_person(tx: Tx, actor: Actor, conversation_id: str, *, is_fine: bool = False) -> None:
    """Count a person's messages again from now on. Raises NOT_FOUND.

    Where a member says that the chat ``is_fine``, it is no longer suspected, and learned from as such.
    """
    conversation = conversation_to_change(tx, actor.business_id, conversation_id)
    if is_fine:
        mark_chat(tx, actor.business_id, conversation.id, conversation.channel_account_id, Mark.FINE)
        emit_change(tx, conversation.business_id, conversation.id)
    tx.change(conversations.persons, actor.business_id, conversation.person_id, blocked_at=None)
    for chat in conversations.list_conversations_of(tx, actor.business_id, {conversation.person_id}):
        if chat.state is model.ThreadState.BLOCKED:
            conversations.record_desk(tx, chat, state=model.ThreadState.OPEN)
            emit_change(tx, chat.business_id, chat.id)


def wake_conversations(tx: Tx) -> int:
    """Return conversations to the inbox at the end of their snooze; return their number."""
    woken = 0
    for conversation in in_time(desk.list_ended_snoozes(tx, 200)):
        conversations.record_desk(tx, conversation, state=model.ThreadState.OPEN, snoozed_until=None)
        emit_change(tx, conversation.business_id, conversation.id)
        woken += 1
    return woken


def label_conversation(tx: Tx, actor: Actor, conversation_id: str, name: str) -> None:
    """Label a conversation; labels are those of the leads. Raises NOT_FOUND; INVALID."""
    conversation = conversation_to_change(tx, actor.business_id, conversation_id)
    label = keep_label(tx, actor.business_id, name)
    row = {"business_id": actor.business_id, "conversation_id": conversation_id, "label_id": label.id}
    if tx.insert_ignore(desk.conversation_labels, row):
        emit_change(tx, conversation.business_id, conversation.id)


def unlabel_conversation(tx: Tx, actor: Actor, conversation_id: str, label_id: str) -> None:
    """Take a label off. Raises Refused: NOT_FOUND."""
    conversation = conversation_to_change(tx, actor.business_id, conversation_id)
    label = {"conversation_id": conversation_id, "label_id": label_id}
    if tx.delete(desk.conversation_labels, actor.business_id, **label):
        emit_change(tx, conversation.business_id, conversation.id)


def add_private_note(tx: Tx, actor: Actor, conversation_id: str, note_id: str, text: str) -> None:
    """Write a note for members alone, once for each ``note_id``. Raises NOT_FOUND; INVALID."""
    conversation = conversation_to_change(tx, actor.business_id, conversation_id)
    if not 0 < len(text.strip()) <= rules.NOTE_LIMIT:
        raise Refused(errors.INVALID, "text: use 1 to %(most)s characters.", most=rules.NOTE_LIMIT)
    note = model.PrivateNote(note_id, actor.business_id, conversation_id, text.strip(), actor.name, tx.now)
    if tx.insert_ignore(desk.private_notes, tx.sealed_row(note)):
        # Notify the members that a note mentions, except its author.
        able = list_able_members(tx, BusinessId(note.business_id), Permission.READ_INBOX)
        names_by_id: dict[str, str] = {member.id: member.display_name for member in able}
        for member_id in rules.mentioned_members(note.text, names_by_id) - {actor.member_id}:
            row = {"id": named_id(note.id, member_id), "business_id": note.business_id, "note_id": note.id}
            place = {"conversation_id": conversation_id, "member_id": member_id}
            tx.insert_ignore(desk.mentions, row | place)
        emit_change(tx, conversation.business_id, conversation.id)


def set_reply_target(tx: Tx, business_id: str, minutes: int) -> None:
    """Set within how many minutes customers should have an answer; 0 sets none. Raises Refused: INVALID."""
    if not 0 <= minutes <= rules.TARGET_LIMIT_MIN:
        raise Refused(
            errors.INVALID, "minutes: enter a whole number up to %(most)s.", most=rules.TARGET_LIMIT_MIN
        )
    target = {"business_id": business_id, "minutes": minutes, "changed_at": tx.now}
    tx.save(desk.reply_targets, target)


def keep_saved_reply(tx: Tx, business_id: str, shortcut: str, text: str) -> None:
    """Keep a text under a shortcut; the same shortcut again replaces its text. Raises Refused: INVALID."""
    word = shortcut.strip().removeprefix("/").lower()
    if not rules.SHORTCUT.fullmatch(word):
        raise Refused(errors.INVALID, "shortcut: use 1 to 30 letters, digits, - or _.")
    if not 0 < len(text.strip()) <= rules.TEXT_LIMIT:
        raise Refused(errors.INVALID, "text: use 1 to %(most)s characters.", most=rules.TEXT_LIMIT)
    tx.hold_key("saved replies", business_id)
    saved_count = sa.select(sa.func.count()).where(desk.saved_replies.c.business_id == business_id)
    if tx.scalar(saved_count) >= rules.MOST_SAVED:
        raise Refused(
            errors.INVALID,
            "shortcut: you have the maximum of %(most)s. Delete one first.",
            most=rules.MOST_SAVED,
        )
    reply = model.SavedReply(new_id(), business_id, word, text.strip())
    row = tx.sealed_row(reply) | {"changed_at": tx.now}
    tx.save(desk.saved_replies, row, ("business_id", "shortcut"), changes=("text", "changed_at"))


def remove_saved_reply(tx: Tx, business_id: str, reply_id: str) -> None:
    """Forget a saved reply. Raises Refused: NOT_FOUND."""
    if not tx.delete(desk.saved_replies, business_id, id=reply_id):
        raise Refused(errors.NOT_FOUND)


def hold_chats(tx: Tx, business_id: str, person_ids: Collection[str]) -> None:
    """Lock the chats of persons against other work, and refuse deliveries of theirs that wait.

    The order of locks is that of settling: the channel account, the conversation, then the lead.
    """
    chats = conversations.list_conversations_of(tx, business_id, person_ids)
    for account_id in sorted({chat.channel_account_id for chat in chats}):
        account = find_account(tx, business_id, account_id)
        if account is None:
            continue
        late = list[model.Receipt]()
        for receipt in desk.list_waiting_receipts(tx, business_id, account.external_id):
            incoming = CONNECTORS[account.platform].parse(conversations.open_receipt(tx.vault, receipt))
            if not isinstance(incoming, Chatted | Referred | WasRead):
                continue
            if Threads(tx).ids_of(account, incoming).person in person_ids:
                late.append(receipt)
        conversations.mark_receipts(tx, late, model.ReceiptState.REFUSED, conversations.ERASED)
    conversations.TO_CHANGE.list(tx, {"businesses": [business_id], "ids": sorted(chat.id for chat in chats)})


def forget_chats(tx: Tx, erased: ErasedPeople) -> set[str]:
    """Delete the chats of persons with all that tells of them; return contacts in their messages."""
    business_id, person_ids = erased.business_id, erased.person_ids
    chats = conversations.list_conversations_of(tx, business_id, person_ids)
    chat_ids = {chat.id for chat in chats}
    sent, persons, receipts = conversations.messages, conversations.persons, conversations.receipts

    # Read the contacts in the messages, normalized and as written, even where capture is off.
    written = sa.select(sent.c.id, sent.c.body).where(*rows_of(sent, business_id, conversation_id=chat_ids))
    texts = {
        row.id: tx.vault.open(row.body, business_id, "messages.body", row.id)
        for row in tx.execute(written).all()
    }
    account_ids = sorted({chat.channel_account_id for chat in chats})
    accounts = [find_account(tx, business_id, account_id) for account_id in account_ids]
    countries = {account.registration_country for account in accounts if account is not None}
    values = set[str]()
    for text, country in product(texts.values(), countries):
        for contact in detect_contacts(text, country):
            values |= {contact.value, contact.raw}

    # Delete the bodies of refused deliveries that name the persons, by contacts or by ids on the platform.
    words = set(erased.contacts)
    ids = sa.select(persons.c.id, persons.c.external_id, persons.c.address)
    for row in tx.execute(ids.where(*rows_of(persons, business_id, id=person_ids))):
        words.add(row.external_id)
        if row.address is not None:
            words.add(tx.vault.open(row.address, business_id, "persons.address", row.id))
    marks = {word.encode() for word in words if word}
    is_refused = rows_of(receipts, business_id, state=model.ReceiptState.REFUSED)
    refused = tx.list(model.Receipt, sa.select(receipts).where(*is_refused, receipts.c.body.is_not(None)))
    named = [
        receipt.id
        for receipt in refused
        if any(mark in conversations.open_receipt(tx.vault, receipt) for mark in marks)
    ]
    if named:
        tx.execute(receipts.update().where(*rows_of(receipts, business_id, id=named)).values(body=None))

    pushes.forget_subjects(tx, business_id, {*texts, *chat_ids, *erased.lead_ids})
    forget_verdicts(tx, business_id, chat_ids)

    # The conversation goes first: who writes into it meanwhile waits for its row.
    tx.delete(conversations.conversations, business_id, id=chat_ids)
    photos = messages.photos.table
    shown = sa.select(sent.c.photo).where(sent.c.business_id == business_id, sent.c.photo.is_not(None))
    unused_photos = photos.delete().where(
        photos.c.business_id == business_id,
        photos.c.digest.in_(shown.where(sent.c.conversation_id.in_(chat_ids))),
        photos.c.digest.not_in(shown.where(sent.c.conversation_id.not_in(chat_ids))),
    )
    tx.execute(unused_photos)
    noticed_leads = list_leads_ever(tx, business_id, person_ids)
    tx.delete(conversations.inline_notices, business_id, lead_id=noticed_leads, conversation_id=chat_ids)
    for table in desk.TABLES_OF_CHATS:
        tx.delete(table, business_id, conversation_id=chat_ids)
    tx.delete(persons, business_id, id=person_ids)
    return values
