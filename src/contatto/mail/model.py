"""Mails, their encoding for a mail server, and the meaning of its replies."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Annotated, Final

from contatto.kit.outbound.model import Done, Failed, HttpAnswer, NotNow, RetryPlan, Step
from contatto.kit.values import SealedIn

MAIL: Final = "mail"
"""Name of the kind of outbound requests; rows contain it, so it never changes."""


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


PLAN: Final = RetryPlan((30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600), timedelta(days=1))
"""Mail servers expect some minutes between attempts. Source: RFC 5321, section 4.5.4.1."""
RETENTION: Final = timedelta(days=30)
"""Time for which a failed mail can be sent again."""


def encode_mail(mail: Mail, sender: str) -> bytes:
    """Encode a mail; line breaks in the subject become spaces, which prevents header injection.

    ``Message-ID`` follows from the mail, so that a copy after a lost answer is recognized.
    Source: RFC 5322; RFC 3834 for ``Auto-Submitted``.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = mail.recipient
    message["Subject"] = " ".join(mail.subject.split())
    message["Date"] = format_datetime(mail.created_at)
    message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2].strip('> ')}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    return bytes(message)


def read_reply(answer: HttpAnswer) -> Step:
    """Interpret a mail server's reply code: 2yz accepts, 5yz refuses for good, 4yz asks to retry.

    Source: RFC 5321, section 4.2.1.
    """
    if 200 <= answer.status < 300:
        return Done()
    return Failed(str(answer.status)) if answer.status >= 500 else NotNow(str(answer.status))
