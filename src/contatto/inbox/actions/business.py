"""What the API needs to find and to show: accounts and conversations by either id, and both sides."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from contatto.channels.actions import load_channel
from contatto.channels.model import ChannelAccount, MessageKind, Platform, Sender
from contatto.inbox.actions.threads import conversation_id_of
from contatto.inbox.model import Conversation, Message, Person
from contatto.inbox.store import conversations
from contatto.kit import errors
from contatto.kit.answers import Answer
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused

type MessageType = Literal["TEXT", "IMAGE", "OTHER"]
type MessageSource = Literal["API", "APP", "OTHERS"]
MESSAGE_TYPES: Final[Mapping[MessageKind, MessageType]] = {
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
    raise Refused(errors.NOT_FOUND, "conversation_id: this account has no conversation with this id.")


def shown_id(account: ChannelAccount, conversation: Conversation) -> str:
    """The id of a conversation in the API: the platform's own on TikTok, ours elsewhere."""
    return conversation.external_id if account.platform is Platform.TIKTOK else conversation.id


def business_open_id(account: ChannelAccount) -> str:
    return account.external_id or account.id


class SideInfo(Answer, frozen=True):
    """One side of a conversation."""

    role: Literal["PERSONAL_ACCOUNT", "BUSINESS_ACCOUNT"]
    id: str
    display_name: str


class Sides(NamedTuple):
    from_user: SideInfo
    to_user: SideInfo


def show_sides(account: ChannelAccount, person: Person, sender: Sender) -> Sides:
    """Who wrote to whom, as messages of the API say it."""
    customer = SideInfo("PERSONAL_ACCOUNT", person.external_id, person.name)
    business = SideInfo("BUSINESS_ACCOUNT", business_open_id(account), account.name)
    return Sides(customer, business) if sender is Sender.CUSTOMER else Sides(business, customer)


def source_of_message(message: Message) -> MessageSource:
    """Where a message was written, in the words of the API."""
    if message.kind is MessageKind.AUTOMATIC:
        return "OTHERS"
    return "API" if message.author else "APP"
