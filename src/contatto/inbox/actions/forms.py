"""What a form shows to a customer beside the chat, and sending one into a thread."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from contatto.channels import store as channel_store
from contatto.channels.model import ChannelAccount, MessageKind, Sender
from contatto.channels.registry import CONNECTORS
from contatto.forms.model import (
    CONTACTS,
    Booking,
    FormVersion,
    Known,
)
from contatto.forms.rules.answers import list_hours
from contatto.forms.rules.content import text_of
from contatto.forms.store import list_bookings, list_versions_by_number, list_who_sent
from contatto.inbox.actions.replies import send_reply
from contatto.inbox.actions.threads import (
    conversation_id_of,
    conversation_to_change,
    person_id_of,
)
from contatto.inbox.model import (
    Message,
)
from contatto.inbox.store import messages
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.gathered import GatheredWork
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.sealed import is_unreadable
from contatto.leads.model.annotations import Actor
from contatto.leads.model.leads import Origin
from contatto.leads.store import records as leads

SHOWN: Final = 300
"""Characters of an answer that stand in the thread; the answers of the form have all of it."""


@dataclass(frozen=True, slots=True)
class FormOffer:
    """A published form, and the address at which the person of one conversation may fill it in."""

    version: FormVersion
    link: str


@dataclass(frozen=True, slots=True)
class Opening:
    """That a visitor of our own chat opens a form; ``number`` is that of its version."""

    account: ChannelAccount
    visitor: str
    number: int


type Opened = tuple[FormVersion, Known]
"""A form, and what it may show to who opened it."""


class GatheredSheets:
    """Forms that are opened beside chats; those opened at the same time are read together."""

    def __init__(self, db: Database) -> None:
        self.sheets: Final = GatheredWork(db.read, list_opened)


def list_opened(tx: Tx, openings: Sequence[Opening]) -> list[Opened | None]:
    """The forms that were opened, in their order; None for one that is not there."""
    found: dict[Opening, Opened] = {}
    for business_id in {each.account.business_id for each in openings}:
        mine = [each for each in openings if each.account.business_id == business_id]
        versions = list_versions_by_number(tx, business_id, {each.number for each in mine})
        who = {each: person_id_of(tx.vault, each.account, each.visitor) for each in mine}
        forms = {version.form_id for version in versions.values()}
        sent = list_who_sent(tx, business_id, forms, set(who.values())) if forms else set()
        bookings = _bookings_of(tx, business_id, versions.values())
        for each in mine:
            if version := versions.get(each.number):
                is_back = (version.form_id, who[each]) in sent
                known = _known_of(tx, each, who[each], version, is_back=is_back)
                found[each] = version, replace(known, bookings=bookings.get(version.form_id, ()))
    return [found.get(each) for each in openings]


def find_known(tx: Tx, account: ChannelAccount, visitor: str, version: FormVersion) -> Known:
    """What a form may show to a visitor of our own chat: that they sent it before, and their own details.

    Only what stands in this visitor's own messages counts. Their lead may hold more: what a member typed or
    imported, or what came from somebody whose lead was merged with theirs.
    """
    person_id = person_id_of(tx.vault, account, visitor)
    is_back = bool(list_who_sent(tx, account.business_id, [version.form_id], [person_id]))
    opening = Opening(account, visitor, version.number)
    known = _known_of(tx, opening, person_id, version, is_back=is_back)
    return replace(known, bookings=find_bookings(tx, version))


def find_bookings(tx: Tx, version: FormVersion) -> tuple[Booking, ...]:
    """Return the booked times of a form, which it must not offer again."""
    return _bookings_of(tx, version.business_id, [version]).get(version.form_id, ())


def _bookings_of(tx: Tx, business_id: str, versions: Iterable[FormVersion]) -> dict[str, tuple[Booking, ...]]:
    forms = {version.form_id for version in versions if list_hours(version.content)}
    return list_bookings(tx, business_id, forms, tx.now)


def _known_of(tx: Tx, opening: Opening, person_id: str, version: FormVersion, *, is_back: bool) -> Known:
    if not any(each.prefill for each in version.content.questions):
        return Known(is_back)
    account, visitor = opening.account, opening.visitor
    business_id = account.business_id
    conversation_id = conversation_id_of(account, visitor)
    lead = leads.find_lead_of_conversation(tx, business_id, person_id, conversation_id)
    if lead is None or lead.hidden_at is not None:
        return Known(is_back)
    points = {each.id: each for each in leads.list_contact_points(tx, business_id, {lead.id})[lead.id]}
    said: dict[str, str] = {}
    for proof in reversed(leads.list_evidence_of_lead(tx, business_id, lead.id)):
        point = points.get(proof.contact_point_id)
        if (
            point is None
            or point.field in said
            or proof.origin is not Origin.CHAT
            or is_unreadable(point.value)
        ):
            continue
        message = messages.find_message(tx, business_id, proof.source_id)
        if message is not None and message.conversation_id == conversation_id:
            said[point.field] = point.value
    return Known(is_back, {kind: said[each] for kind, each in CONTACTS.items() if each in said})


def send_form(tx: Tx, actor: Actor, conversation_id: str, message_id: str, offer: FormOffer) -> Message:
    """Send a published form into a thread: a card in our own chat, a link on a platform.

    Raises:
        Refused: NOT_FOUND; CANNOT_SEND, with the reason.
    """
    conversation = conversation_to_change(tx, actor.business_id, conversation_id)
    account = channel_store.find_account(tx, actor.business_id, conversation.channel_account_id)
    if account is None:
        raise Refused(errors.NOT_FOUND)
    version = offer.version
    is_ours = not CONNECTORS[account.platform].dialect.base_url
    headline = text_of(version.content, "headline", version.content.languages[0]) or version.name
    message = Message(
        seq=0,
        id=message_id,
        conversation_id=conversation_id,
        sender=Sender.BUSINESS,
        kind=MessageKind.FORM if is_ours else MessageKind.TEXT,
        text=headline if is_ours else f"{headline}\n{offer.link}",
        author=actor.name,
        at=tx.now,
        form=str(version.number) if is_ours else None,
    )
    return send_reply(tx, actor.business_id, conversation_id, message)
