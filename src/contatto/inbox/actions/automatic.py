"""Automatic messages of our own chat page: keeping them, and answering by exact words (P4)."""

from dataclasses import replace
from typing import Final

from contatto.channels import store as channel_store
from contatto.channels.model import ChannelAccount, MessageKind, Platform, Sender
from contatto.inbox import rules
from contatto.inbox.actions.threads import find_tapped_of
from contatto.inbox.index import AccountSwitch
from contatto.inbox.model import (
    AutomaticKind,
    AutomaticMessages,
    Conversation,
    Message,
    MessageSent,
    PreparedReply,
)
from contatto.inbox.store.conversations import Move
from contatto.inbox.store.desk import find_automatic, save_automatic
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id
from contatto.measurement.rules import natural_number


def keep_automatic(
    tx: Tx, business_id: str, account_id: str, content: AutomaticMessages, revision: int
) -> None:
    """Keep the automatic messages of a chat page, as the page that showed ``revision`` has them now.

    The page shows words alone: kinds that are turned off stay off, and messages whose question or title is
    the same keep the ids that the API knows them by.

    Raises:
        Refused: NOT_FOUND; INVALID beyond a limit; CONFLICT when somebody was faster.
    """
    account = channel_store.find_account(tx, business_id, account_id)
    if account is None or account.platform is not Platform.WEBCHAT:
        raise Refused(errors.NOT_FOUND, "Chat page not found.")
    saved = find_automatic(tx, business_id, account_id)
    new_content = content if saved is None else rules.with_what_stays(content, saved[0])
    keep_account_automatic(tx, account, new_content, revision)


def keep_account_automatic(
    tx: Tx, account: ChannelAccount, content: AutomaticMessages, revision: int
) -> None:
    """Keep the automatic messages of any account.

    Raises:
        Refused: INVALID beyond a limit; CONFLICT when somebody was faster.
    """
    problem = rules.automatic_problem(content)
    if problem is not None:
        raise Refused(errors.INVALID, problem.text, **problem.values)
    if not save_automatic(tx, account.business_id, account.id, content, revision):
        raise Refused(errors.CONFLICT, "Somebody else changed these messages. Nothing was overwritten.")


def answer_by_itself(
    tx: Tx, account_switch: AccountSwitch, conversation: Conversation, question: Message
) -> None:
    """Answer a customer's message that is exactly a suggested question or a keyword; once for each.

    The questions of the ad that opened the chat come first, then those of the account.
    """
    account, batch = account_switch.account, account_switch.batch
    if account.platform is not Platform.WEBCHAT:
        return
    saved = find_automatic(tx, account.business_id, account.id)
    active = saved[0].active if saved else AutomaticMessages()
    tapped = find_tapped_of(tx, account.business_id, conversation.person_id)
    of_ad = rules.with_ad(active, tapped[1] if tapped else None)
    text = rules.automatic_answer(of_ad, question.text) or rules.automatic_answer(active, question.text)
    if text is None:
        return
    reply = Message(
        seq=0,
        id=named_id(question.id, "automatic"),
        conversation_id=conversation.id,
        sender=Sender.BUSINESS,
        kind=MessageKind.AUTOMATIC,
        text=text,
        author="",
        at=question.at,
    )
    if batch.threads.append(account.business_id, reply):
        batch.threads.move(Move(conversation, reply.at, from_customer=False, is_automatic=True))
        batch.emit(account.business_id, MessageSent(account.business_id, conversation.id, reply.id))


_LISTS: Final = {AutomaticKind.QUESTION: "questions", AutomaticKind.PROMPT: "prompts"}
_PARTS: Final = {AutomaticKind.WELCOME: "welcome", **_LISTS}


def load_automatic(tx: Tx, account: ChannelAccount) -> tuple[AutomaticMessages, int]:
    """The automatic messages of an account, and their revision."""
    return find_automatic(tx, account.business_id, account.id) or (AutomaticMessages(), 0)


def numbered_messages(
    account: ChannelAccount, content: AutomaticMessages, kind: AutomaticKind
) -> dict[int, PreparedReply]:
    """The messages of a kind by the API's ``auto_message_id``, in their order."""
    if kind is AutomaticKind.WELCOME:
        welcome = PreparedReply("", content.welcome)
        return {natural_number(account.id, kind, ""): welcome} if content.welcome else {}
    listed: tuple[PreparedReply, ...] = getattr(content, _LISTS[kind])
    return {message.number or natural_number(account.id, kind, message.ask): message for message in listed}


def add_auto_message(tx: Tx, account: ChannelAccount, kind: AutomaticKind, new: PreparedReply) -> int:
    """Add a message and give its id; an account has one welcome message, and no question or prompt twice.

    Raises:
        Refused: INVALID beyond a limit, or for one that is there.
    """
    content, revision = load_automatic(tx, account)
    messages_by_number = numbered_messages(account, content, kind)
    if any(message.ask == new.ask for message in messages_by_number.values()):
        name = _PARTS[kind]
        raise Refused(
            errors.INVALID,
            "%(name)s: this account already has one. Update it, or delete it first.",
            name=name,
        )
    _keep(tx, account, content, revision, kind, [*messages_by_number.values(), new])
    return natural_number(account.id, kind, new.ask)


def change_auto_message(
    tx: Tx, account: ChannelAccount, kind: AutomaticKind, number: int, new: PreparedReply
) -> None:
    """Change a message; it keeps its id and its place.

    Raises:
        Refused: NOT_FOUND; INVALID beyond a limit, or for one that is there.
    """
    content, revision = load_automatic(tx, account)
    messages_by_number = _known(account, content, kind, number)
    if any(
        message.ask == new.ask
        for other_number, message in messages_by_number.items()
        if other_number != number
    ):
        raise Refused(errors.INVALID, "%(name)s: this account already has one.", name=_PARTS[kind])
    messages_by_number[number] = replace(new, number=number)
    _keep(tx, account, content, revision, kind, list(messages_by_number.values()))


def drop_auto_message(tx: Tx, account: ChannelAccount, kind: AutomaticKind, number: int) -> None:
    """Take a message away.

    Raises:
        Refused: NOT_FOUND.
    """
    content, revision = load_automatic(tx, account)
    messages_by_number = _known(account, content, kind, number)
    del messages_by_number[number]
    _keep(tx, account, content, revision, kind, list(messages_by_number.values()))


def sort_auto_message(tx: Tx, account: ChannelAccount, kind: AutomaticKind, order: list[int]) -> None:
    """Put messages first, in the order that is given; the others follow as they were.

    Raises:
        Refused: NOT_FOUND.
    """
    content, revision = load_automatic(tx, account)
    messages_by_number = numbered_messages(account, content, kind)
    for number in order:
        _known(account, content, kind, number)
    first = [messages_by_number[number] for number in dict.fromkeys(order)]
    rest = [message for number, message in messages_by_number.items() if number not in order]
    _keep(tx, account, content, revision, kind, [*first, *rest])


def turn_auto_messages(tx: Tx, account: ChannelAccount, kind: AutomaticKind, *, is_on: bool) -> None:
    """Turn all messages of a kind on or off; turned off they are kept."""
    content, revision = load_automatic(tx, account)
    off = {switched_kind for switched_kind in content.off if switched_kind != kind} | (
        set() if is_on else {kind.value}
    )
    changed = replace(content, off=tuple(sorted(off)))
    keep_account_automatic(tx, account, changed, revision)


def _known(
    account: ChannelAccount, content: AutomaticMessages, kind: AutomaticKind, number: int
) -> dict[int, PreparedReply]:
    messages_by_number = numbered_messages(account, content, kind)
    if number not in messages_by_number:
        raise Refused(errors.NOT_FOUND, "auto_message_id: no message of this type has this id.")
    return messages_by_number


def _keep(
    tx: Tx,
    account: ChannelAccount,
    content: AutomaticMessages,
    revision: int,
    kind: AutomaticKind,
    listed: list[PreparedReply],
) -> None:
    if kind is AutomaticKind.WELCOME:
        changed = replace(content, welcome=listed[-1].say if listed else "")
    elif kind is AutomaticKind.QUESTION:
        changed = replace(content, questions=tuple(listed))
    else:
        changed = replace(content, prompts=tuple(listed))
    keep_account_automatic(tx, account, changed, revision)
