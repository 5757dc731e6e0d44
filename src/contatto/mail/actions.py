"""Queue mails in the transaction of their cause, and send them by a mail server."""

from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.kit.outbound.model import (
    MAIL_ADDRESS,
    MAIL_METHOD,
    Ask,
    Done,
    HttpAnswer,
    HttpRequest,
    NewRequest,
    OutboundRequest,
    Outcome,
    RequestState,
    Step,
)
from contatto.kit.outbound.queue import OutboundKind, queue_request
from contatto.mail import store
from contatto.mail.model import MAIL, PLAN, RETENTION, NewMail, encode_mail, read_reply


def queue_mail(tx: Tx, new: NewMail) -> None:
    """Queue a mail to be sent after the commit, with retries for a day."""
    mail_id = new_id()
    row = {"id": mail_id, "business_id": new.business_id, "created_at": tx.now}
    texts = {"recipient": new.recipient, "subject": new.subject, "text": new.text}
    sealed_texts = {
        name: tx.vault.seal(text, new.business_id, f"mails.{name}", mail_id) for name, text in texts.items()
    }
    store.save_mail(tx, row | sealed_texts)
    queue_request(tx, NewRequest(new.business_id, MAIL, mail_id, "mail server"), PLAN)


def mail_kind(sender: str) -> OutboundKind:
    """Return the outbound kind of mails; ``sender`` is the ``From`` address."""

    def begin_mail(tx: Tx, request: OutboundRequest) -> Step:
        mail = store.find_mail(tx, request.business_id, request.subject)
        if mail is None:
            return Done()
        headers = {"to": mail.recipient}
        return Ask(HttpRequest(MAIL_METHOD, MAIL_ADDRESS, headers, encode_mail(mail, sender)))

    return OutboundKind(MAIL, begin_mail, read_mail_reply, settle_mail, PLAN)


def read_mail_reply(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
    return read_reply(answer)


def settle_mail(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Delete mails that were sent or dismissed."""
    if state in (RequestState.DONE, RequestState.DISMISSED):
        store.delete_mail(tx, request.business_id, request.subject)


def purge_mails(tx: Tx) -> int:
    """Delete failed mails after the retention; return their number."""
    return store.delete_old_mails(tx, tx.now - RETENTION)
