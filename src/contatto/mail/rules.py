"""A mail as the bytes that a mail server takes, and what its answer means."""

from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from contatto.kit.exchange import HttpAnswer
from contatto.kit.outbound.model import Done, Failed, NotNow, RetryPlan, Step
from contatto.mail.model import Mail

PLAN: Final = RetryPlan((30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600), timedelta(days=1))
"""Mail servers ask for another try after some minutes at least. Source: RFC 5321, section 4.5.4.1."""
KEPT: Final = timedelta(days=30)
"""How long a mail that could not be sent is kept for a replay."""


def message_of(mail: Mail, sender: str) -> bytes:
    """The mail with its headers; a line break in a subject is a blank, so nothing becomes a header.

    ``Message-ID`` follows from the mail, so that a second copy after a lost answer is known as one.
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
    """The next step after a mail server's reply code: 2yz took it, 5yz never will, 4yz may later.

    Source: RFC 5321, section 4.2.1.
    """
    if 200 <= answer.status < 300:
        return Done()
    return Failed(str(answer.status)) if answer.status >= 500 else NotNow(str(answer.status))
