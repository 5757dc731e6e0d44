"""Queueing a mail together with what it tells of, and bringing it to the mail server."""

from contatto.kit.db.tx import Tx
from contatto.kit.exchange import MAIL_ADDRESS, MAIL_METHOD, HttpAnswer, HttpRequest
from contatto.kit.ids import new_id
from contatto.kit.outbound.kinds import OutboundKind
from contatto.kit.outbound.model import Ask, Done, NewRequest, OutboundRequest, Outcome, RequestState, Step
from contatto.kit.outbound.store import queue_request
from contatto.mail import store
from contatto.mail.model import MAIL, NewMail
from contatto.mail.rules import KEPT, PLAN, message_of, read_reply


def queue_mail(tx: Tx, new: NewMail) -> None:
    """Send a mail after the commit, and try again for a day where the mail server does not take it."""
    mail_id = new_id()
    row = {"id": mail_id, "business_id": new.business_id, "created_at": tx.now}
    told = {"recipient": new.recipient, "subject": new.subject, "text": new.text}
    sealed_texts = {
        name: tx.vault.seal(text, new.business_id, f"mails.{name}", mail_id) for name, text in told.items()
    }
    store.save_mail(tx, row | sealed_texts)
    queue_request(tx, NewRequest(new.business_id, MAIL, mail_id, "mail server"), PLAN)


def mail_kind(sender: str) -> OutboundKind:
    """How mails are brought to the mail server; ``sender`` is what stands in ``From``."""

    def begin_mail(tx: Tx, request: OutboundRequest) -> Step:
        mail = store.find_mail(tx, request.business_id, request.subject)
        if mail is None:
            return Done()
        headers = {"to": mail.recipient}
        return Ask(HttpRequest(MAIL_METHOD, MAIL_ADDRESS, headers, message_of(mail, sender)))

    return OutboundKind(MAIL, begin_mail, read_mail_reply, settle_mail, PLAN)


def read_mail_reply(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
    return read_reply(answer)


def settle_mail(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Forget what was sent, or dismissed."""
    if state in (RequestState.DONE, RequestState.DISMISSED):
        store.delete_mail(tx, request.business_id, request.subject)


def purge_mails(tx: Tx) -> int:
    """Delete mails that could not be sent, after a month; say how many."""
    return store.delete_old_mails(tx, tx.now - KEPT)
