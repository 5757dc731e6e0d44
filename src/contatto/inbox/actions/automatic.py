"""Automatic messages of our own chat page: keeping them, and answering by exact words (P4)."""

from contatto.channels import store as channel_store
from contatto.channels.model import ChannelAccount, MessageKind, Platform, Sender
from contatto.inbox import rules
from contatto.inbox.actions.taps import find_tapped_of
from contatto.inbox.index import AccountSwitch
from contatto.inbox.model import AutomaticMessages, Conversation, Message, MessageSent
from contatto.inbox.store.automatic import find_automatic, save_automatic
from contatto.inbox.store.conversations import Move
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id


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
    known = find_automatic(tx, business_id, account_id)
    kept = content if known is None else rules.with_what_stays(content, known[0])
    keep_account_automatic(tx, account, kept, revision)


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
    tx: Tx, account_switch: AccountSwitch, conversation: Conversation, asked: Message
) -> None:
    """Answer a customer's message that is exactly a suggested question or a keyword; once for each.

    The questions of the ad that opened the chat come first, then those of the account.
    """
    account, batch = account_switch.account, account_switch.batch
    if account.platform is not Platform.WEBCHAT:
        return
    found = find_automatic(tx, account.business_id, account.id)
    active = found[0].active if found else AutomaticMessages()
    tapped = find_tapped_of(tx, account.business_id, conversation.person_id)
    of_ad = rules.with_ad(active, tapped[1] if tapped else None)
    text = rules.automatic_answer(of_ad, asked.text) or rules.automatic_answer(active, asked.text)
    if text is None:
        return
    reply = Message(
        seq=0,
        id=named_id(asked.id, "automatic"),
        conversation_id=conversation.id,
        sender=Sender.BUSINESS,
        kind=MessageKind.AUTOMATIC,
        text=text,
        author="",
        at=asked.at,
    )
    if batch.threads.append(account.business_id, reply):
        batch.threads.move(Move(conversation, reply.at, from_customer=False, is_automatic=True))
        batch.emit(account.business_id, MessageSent(account.business_id, conversation.id, reply.id))
