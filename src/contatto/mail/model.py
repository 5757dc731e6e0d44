"""A mail, before and while it waits."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from contatto.kit.sealed import SealedText

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
    recipient: SealedText = field(repr=False)
    subject: SealedText = field(repr=False)
    text: SealedText = field(repr=False)
    created_at: datetime
