"""Forms that customers fill in beside the chat."""

from contatto.channels.model import ChannelAccount, MessageKind, Sender, WasRead
from contatto.forms import actions as forms
from contatto.forms.model import FormAnswer, FormVersion, Respondent, Source, Submission, Verdict
from contatto.forms.rules.words import text_of
from contatto.inbox.actions.threads import open_conversation, person_id_of
from contatto.inbox.model import (
    Conversation,
    Message,
    MessageSent,
)
from contatto.inbox.store import conversations, messages, persons
from contatto.kit.db.tx import Tx
from contatto.kit.ids import named_id
from contatto.kit.outbox import emit
from contatto.measurement import store as measurement_store
from contatto.measurement.model import MeasuredAd, Touch, TouchKind


def find_tapped_ad(tx: Tx, account: ChannelAccount, visitor: str) -> tuple[Touch, MeasuredAd] | None:
    """The last tap of a visitor, with its ad."""
    person_id = person_id_of(account, visitor)
    for touch in measurement_store.list_touches_of(tx, account.business_id, person_id, 20):
        if touch.kind is TouchKind.CLICK:
            ad = measurement_store.find_measured_ad(tx, account.business_id, touch.ad_id)
            return (touch, ad) if ad else None
    return None


def take_form(
    tx: Tx, account: ChannelAccount, visitor: str, version: FormVersion, sent: Submission
) -> FormAnswer:
    """Take a form that a customer filled in beside the chat, once, and thank them in the thread (R41, R42).

    Raises:
        Unanswered: with a problem for each field that lacks something.
    """
    # The person stands in the thread: to open it, that is all that needs to be known.
    conversation = open_conversation(tx, account, WasRead(visitor, visitor, tx.now))
    person = persons.load_person(tx, account.business_id, conversation.person_id)
    tapped = find_tapped_ad(tx, account, visitor)
    respondent = Respondent(
        business_id=account.business_id,
        person_id=person.id,
        channel_account_id=account.id,
        conversation_id=conversation.id,
        profile_name=person.name,
        ad_id=tapped[1].ad_id if tapped else None,
        hidden=_hidden_values(*tapped) if tapped else {},
    )
    answer = forms.submit_form(tx, version, respondent, sent)
    if answer.verdict is Verdict.TAKEN:
        _thank(tx, conversation, version, answer)
    return answer


def _hidden_values(touch: Touch, ad: MeasuredAd) -> dict[Source, str]:
    return {
        Source.CAMPAIGN: ad.campaign_name,
        Source.AD_GROUP: ad.ad_group_name,
        Source.AD: ad.ad_name,
        Source.CLICK: str(touch.touch_id),
    }


def _thank(tx: Tx, conversation: Conversation, version: FormVersion, answer: FormAnswer) -> None:
    """The form's own thank-you as a message of the business; the same answer thanks once."""
    parts = (text_of(version.content, key, answer.language) for key in ("thanks_title", "thanks_text"))
    message = Message(
        seq=0,
        id=named_id(answer.id, "thanks"),
        conversation_id=conversation.id,
        sender=Sender.BUSINESS,
        kind=MessageKind.TEXT,
        text="\n".join(part for part in parts if part),
        author=version.name,
        at=answer.at,
    )
    if messages.append_message(tx, conversation.business_id, message):
        conversations.record_message_time(tx, conversation, answer.at, from_customer=False, is_automatic=True)
        emit(tx, conversation.business_id, MessageSent(conversation.business_id, conversation.id, message.id))
