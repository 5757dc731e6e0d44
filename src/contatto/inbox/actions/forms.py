"""Forms that customers fill in beside the chat."""

from dataclasses import dataclass
from typing import Final

from contatto.channels import store as channel_store
from contatto.channels.model import ChannelAccount, MessageKind, Sender, WasRead
from contatto.channels.registry import CONNECTORS
from contatto.forms.actions import records as forms
from contatto.forms.model import (
    CONTACTS,
    FormAnswer,
    FormVerdict,
    FormVersion,
    HiddenValue,
    Known,
    Respondent,
    Submission,
)
from contatto.forms.rules.words import text_of
from contatto.forms.store.records import has_sent_form
from contatto.inbox.actions.replies import send_reply
from contatto.inbox.actions.taps import find_tapped_of
from contatto.inbox.actions.threads import (
    conversation_id_of,
    open_conversation,
    owned_conversation,
    person_id_of,
)
from contatto.inbox.model import (
    Conversation,
    Message,
    MessageSent,
)
from contatto.inbox.store import conversations, messages, persons
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import named_id
from contatto.kit.outbox import emit
from contatto.leads.model.annotations import Actor
from contatto.leads.model.leads import Origin
from contatto.leads.store import records as leads
from contatto.measurement.model import MeasuredAd, Touch

SHOWN: Final = 300
"""Characters of an answer that stand in the thread; the answers of the form have all of it."""


@dataclass(frozen=True, slots=True)
class FormOffer:
    """A published form, and the address at which the person of one conversation may fill it in."""

    version: FormVersion
    link: str


def find_known(tx: Tx, account: ChannelAccount, visitor: str, version: FormVersion) -> Known:
    """What a form may show to a visitor of our own chat: that they sent it before, and their own details.

    Only what stands in this visitor's own messages counts. Their lead may hold more: what a member typed or
    imported, or what came from somebody whose lead was merged with theirs.
    """
    business_id, person_id = account.business_id, person_id_of(tx.vault, account, visitor)
    is_back = has_sent_form(tx, business_id, version.form_id, person_id)
    if not any(each.prefill for each in version.content.questions):
        return Known(is_back)
    conversation_id = conversation_id_of(account, visitor)
    lead = leads.find_lead_of_conversation(tx, business_id, conversation_id)
    if lead is None or lead.hidden_at is not None or lead.person_id != person_id:
        return Known(is_back)
    points = {each.id: each for each in leads.list_contact_points(tx, business_id, {lead.id})[lead.id]}
    said: dict[str, str] = {}
    for proof in reversed(leads.list_evidence_of_lead(tx, business_id, lead.id)):
        point = points.get(proof.contact_point_id)
        if point is None or point.field in said or proof.origin is not Origin.CHAT:
            continue
        message = messages.find_message(tx, business_id, proof.source_id)
        if message is not None and message.conversation_id == conversation_id:
            said[point.field] = point.value
    return Known(is_back, {kind: said[each] for kind, each in CONTACTS.items() if each in said})


def take_form(
    tx: Tx, account: ChannelAccount, visitor: str, version: FormVersion, sent: Submission
) -> FormAnswer:
    """Take a form that a customer filled in beside the chat, once, and thank them in the thread (R41, R42).

    Raises:
        Unanswered: with a problem for each field that lacks something.
    """
    # The person stands in the thread: to open it, that is all that needs to be known.
    conversation = open_conversation(tx, account, WasRead(visitor, visitor, tx.now))
    answer = take_form_of(tx, conversation, version, sent)
    if answer.verdict is FormVerdict.TAKEN:
        _thank(tx, conversation, version, answer)
    return answer


def take_form_of(tx: Tx, conversation: Conversation, version: FormVersion, sent: Submission) -> FormAnswer:
    """Take a form that the person of a conversation filled in, wherever that was.

    Raises:
        Unanswered: with a problem for each field that lacks something.
    """
    person = persons.load_person(tx, conversation.business_id, conversation.person_id)
    tapped = find_tapped_of(tx, conversation.business_id, person.id)
    respondent = Respondent(
        business_id=conversation.business_id,
        person_id=person.id,
        channel_account_id=conversation.channel_account_id,
        conversation_id=conversation.id,
        profile_name=person.name,
        ad_id=tapped[1].ad_id if tapped else None,
        hidden=_hidden_values(*tapped) if tapped else {},
    )
    return forms.submit_form(tx, version, respondent, sent)


def send_form(tx: Tx, actor: Actor, conversation_id: str, message_id: str, offer: FormOffer) -> Message:
    """Send a published form into a thread: a card in our own chat, a link on a platform.

    Raises:
        Refused: NOT_FOUND; CANNOT_SEND, with the reason.
    """
    conversation = owned_conversation(tx, actor.business_id, conversation_id)
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


def _hidden_values(touch: Touch, ad: MeasuredAd) -> dict[HiddenValue, str]:
    return {
        HiddenValue.CAMPAIGN: ad.campaign_name,
        HiddenValue.AD_GROUP: ad.ad_group_name,
        HiddenValue.AD: ad.ad_name,
        HiddenValue.CLICK: str(touch.touch_id),
    }


def _thank(tx: Tx, conversation: Conversation, version: FormVersion, answer: FormAnswer) -> None:
    """The form's own thank-you, with what was handed in, as a message of the business, once for an answer."""
    handed_in = "\n".join(f"{each.label}: {each.shown[:SHOWN]}" for each in answer.answers if each.shown)
    parts = (text_of(version.content, key, answer.language) for key in ("thanks_title", "thanks_text"))
    message = Message(
        seq=0,
        id=named_id(answer.id, "thanks"),
        conversation_id=conversation.id,
        sender=Sender.BUSINESS,
        kind=MessageKind.TEXT,
        text="\n\n".join(filter(None, ("\n".join(filter(None, parts)), handed_in))),
        author=version.name,
        at=answer.at,
    )
    if messages.append_message(tx, conversation.business_id, message):
        conversations.record_message_time(tx, conversation, answer.at, from_customer=False, is_automatic=True)
        emit(tx, conversation.business_id, MessageSent(conversation.business_id, conversation.id, message.id))
