"""What the API needs to find and to tell: accounts and conversations by either id, and messages as pushes."""

from typing import Any, Final

from contatto.channels.actions import load_channel
from contatto.channels.model import ChannelAccount, MessageKind, Platform, Sender
from contatto.channels.store import find_account
from contatto.inbox.actions.threads import conversation_id_of
from contatto.inbox.model import Conversation, Message, MessageReceived, MessageSent, Person
from contatto.inbox.store import conversations, messages, persons
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.listeners import only_for
from contatto.kit.moments import micros
from contatto.notices.actions import of_told, queue_message_pushes
from contatto.notices.model import Entity
from contatto.notices.rules import message_payload

MESSAGE_TYPES: Final = {
    MessageKind.TEXT: "TEXT",
    MessageKind.AUTOMATIC: "TEXT",
    MessageKind.FORM: "TEXT",
    MessageKind.PHOTO: "IMAGE",
    MessageKind.OTHER: "OTHER",
}


def load_business_account(tx: Tx, business_id: str, account_id: str) -> ChannelAccount:
    """The channel account that the API calls a business.

    Raises:
        Refused: NOT_FOUND.
    """
    return load_channel(tx, business_id, account_id, "business_id")


def load_business_conversation(tx: Tx, account: ChannelAccount, conversation_id: str) -> Conversation:
    """A conversation of the account, by our id of it or by its platform's.

    Raises:
        Refused: NOT_FOUND.
    """
    for known in (conversation_id, conversation_id_of(account, conversation_id)):
        found = conversations.find_conversation(tx, account.business_id, known)
        if found is not None and found.channel_account_id == account.id:
            return found
    raise Refused(errors.NOT_FOUND, "conversation_id: there is no such conversation of this account.")


def shown_id(account: ChannelAccount, conversation: Conversation) -> str:
    """The id of a conversation in the API: the platform's own on TikTok, ours elsewhere."""
    return conversation.external_id if account.platform is Platform.TIKTOK else conversation.id


def business_open_id(account: ChannelAccount) -> str:
    return account.external_id or account.id


def show_sides(account: ChannelAccount, person: Person, sender: Sender) -> dict[str, Any]:
    """Who wrote to whom, as messages of the API say it."""
    customer = {"role": "PERSONAL_ACCOUNT", "id": person.external_id, "display_name": person.name}
    business = {"role": "BUSINESS_ACCOUNT", "id": business_open_id(account), "display_name": account.name}
    sides = (customer, business) if sender is Sender.CUSTOMER else (business, customer)
    return {"from_user": sides[0], "to_user": sides[1]}


@only_for(of_told(Entity.DIRECT_MESSAGE))
def push_message(tx: Tx, event: MessageReceived | MessageSent) -> None:
    """Tell programs of a message; heard through the outbox. Notices and notes are no messages."""
    message = messages.find_message(tx, event.business_id, event.message_id)
    conversation = conversations.find_conversation(tx, event.business_id, event.conversation_id)
    if message is None or conversation is None:
        return
    account = find_account(tx, event.business_id, conversation.channel_account_id)
    if account is None:
        return
    person = persons.load_person(tx, event.business_id, conversation.person_id)
    content = _push_content(account, conversation, person, message)
    kind = "im_receive_msg" if message.sender is Sender.CUSTOMER else "im_send_msg"
    at_s = micros(message.at) // 1_000_000
    open_id = business_open_id(account)
    queue_message_pushes(
        tx,
        event.business_id,
        message.id,
        lambda of: message_payload(kind, open_id, of.app_id, content, at_s),
    )


def _push_content(
    account: ChannelAccount, conversation: Conversation, person: Person, message: Message
) -> dict[str, Any]:
    """The content of a messaging event. Its roles and types are written small, its time in milliseconds."""
    sides = show_sides(account, person, message.sender)
    kind = MESSAGE_TYPES[message.kind].lower()
    body: dict[str, Any] = {"text": {"body": message.text}} if kind == "text" else {}
    if message.photo:
        body = {"image": {"media_id": message.photo}}
    roles = {side: {"id": of["id"], "role": of["role"].lower()} for side, of in sides.items()}
    return {
        "from": sides["from_user"]["display_name"],
        "to": sides["to_user"]["display_name"],
        "unique_identifier": person.external_id,
        **roles,
        "conversation_id": shown_id(account, conversation),
        "message_id": message.id,
        "timestamp": micros(message.at) // 1_000,
        "type": kind,
        **body,
        "message_tag": {"source": source_of_message(message)},
    }


def source_of_message(message: Message) -> str:
    """Where a message was written, in the words of the API."""
    if message.kind is MessageKind.AUTOMATIC:
        return "OTHERS"
    return "API" if message.author else "APP"
