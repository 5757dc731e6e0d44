"""What sets an installation up, the steps after it, and a page of help."""

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class NewInstallation:
    """The first business, its owner and its ad account; the country is where the account is registered."""

    business: str
    display_name: str
    email: str
    country: str
    currency: str
    timezone: str
    password_hash: str = field(repr=False)


class Step(StrEnum):
    """What a business does first; each is done when the thing itself is there."""

    CHANNEL = "channel"
    CAPTURE = "capture"
    FORM = "form"
    AD = "ad"
    COLLEAGUE = "colleague"
    LEAD = "lead"


@dataclass(frozen=True, slots=True)
class HelpPage:
    """A document as it is shipped: ``place`` is its folder and name without ending, such as ``how-to/x``."""

    place: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A page that a search found, with the words around the first place."""

    place: str
    title: str
    excerpt: str
