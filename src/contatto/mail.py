"""Queued mails, encrypted until a mail server accepts them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Annotated, Final

import sqlalchemy as sa

from contatto.kit.db.tx import Tx, instant, key, metadata, purging, rows_of, sealed, tenant
from contatto.kit.ids import new_id
from contatto.kit.outbound.model import (
    MAIL_ADDRESS,
    MAIL_METHOD,
    Ask,
    Done,
    Failed,
    HttpAnswer,
    HttpRequest,
    NewRequest,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    RetryPlan,
    Step,
)
from contatto.kit.outbound.queue import OutboundKind, queue_request
from contatto.kit.values import SealedIn

MAIL: Final = "mail"
"""Name of the kind of outbound requests; rows contain it, so it never changes."""
PLAN: Final = RetryPlan((30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600), timedelta(days=1))
"""Mail servers expect some minutes between attempts. Source: RFC 5321, section 4.5.4.1."""
RETENTION: Final = timedelta(days=30)
"""Time for which a failed mail can be sent again."""


@dataclass(frozen=True, slots=True)
class NewMail:
    """Mail in plain text, to one person.

    ``business_id`` decides its turn in the queue, and in which failed jobs it appears.
    """

    business_id: str
    recipient: str = field(repr=False)
    subject: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mail:
    """Mail in the queue, with sealed texts."""

    id: str
    business_id: str
    recipient: Annotated[str, SealedIn("mails.recipient")] = field(repr=False)
    subject: Annotated[str, SealedIn("mails.subject")] = field(repr=False)
    text: Annotated[str, SealedIn("mails.text")] = field(repr=False)
    created_at: datetime


mails = sa.Table(
    "mails",
    metadata,
    key(),
    tenant(),
    sealed("recipient"),
    sealed("subject"),
    sealed("text"),
    instant("created_at"),
    sa.Index("ix_mails_created_at", "created_at"),
)


def queue_mail(tx: Tx, new: NewMail) -> None:
    """Queue a mail to be sent after the commit, with retries for a day."""
    mail_id = new_id()
    texts = {"recipient": new.recipient, "subject": new.subject, "text": new.text}
    sealed_texts = {
        name: tx.vault.seal(text, new.business_id, f"mails.{name}", mail_id) for name, text in texts.items()
    }
    tx.insert(mails, {"id": mail_id, "business_id": new.business_id, "created_at": tx.now} | sealed_texts)
    queue_request(tx, NewRequest(new.business_id, MAIL, mail_id, "mail server"), PLAN)


def mail_kind(sender: str) -> OutboundKind:
    """Return the outbound kind of mails; ``sender`` is the ``From`` address."""

    def begin_mail(tx: Tx, request: OutboundRequest) -> Step:
        mail = tx.find(Mail, mails.select().where(*rows_of(mails, request.business_id, id=request.subject)))
        if mail is None:
            return Done()
        message = EmailMessage(policy=SMTP)
        message["From"] = sender
        message["To"] = mail.recipient
        message["Subject"] = " ".join(mail.subject.split())  # a line break would begin another header
        message["Date"] = format_datetime(mail.created_at)
        # It follows from the mail, so that a copy after a lost answer is recognized. Source: RFC 5322.
        message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2].strip('> ')}>"
        message["Auto-Submitted"] = "auto-generated"  # Source: RFC 3834
        message.set_content(mail.text)
        return Ask(HttpRequest(MAIL_METHOD, MAIL_ADDRESS, {"to": mail.recipient}, bytes(message)))

    def settle_mail(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
        if state in (RequestState.DONE, RequestState.DISMISSED):
            tx.delete(mails, request.business_id, id=request.subject)

    return OutboundKind(MAIL, begin_mail, lambda _tx, _request, answer: read_reply(answer), settle_mail, PLAN)


def read_reply(answer: HttpAnswer) -> Step:
    """Interpret a mail server's reply code: 2yz accepts, 5yz refuses for good, 4yz asks to retry.

    Source: RFC 5321, section 4.2.1.
    """
    if 200 <= answer.status < 300:
        return Done()
    return Failed(str(answer.status)) if answer.status >= 500 else NotNow(str(answer.status))


purge_mails: Final = purging(mails.c.created_at, RETENTION)
