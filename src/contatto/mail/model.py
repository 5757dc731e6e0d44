"""A mail, before and while it waits."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

from contatto.kit.sealed import SealedIn

MAIL: Final = "mail"
"""The name of the kind of outbound requests; it is kept in rows and never changes."""


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail in plain text, to one person.

    ``business_id`` is whose turn it takes, and whose failed work shows it if it cannot be sent.
    """

    business_id: str
    recipient: str = field(repr=False)
    subject: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it is kept."""

    id: str
    business_id: str
    recipient: Annotated[str, SealedIn("mails.recipient")] = field(repr=False)
    subject: Annotated[str, SealedIn("mails.subject")] = field(repr=False)
    text: Annotated[str, SealedIn("mails.text")] = field(repr=False)
    created_at: datetime
