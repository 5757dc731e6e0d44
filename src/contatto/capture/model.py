"""Contact fields, matches with their evidence, and stated names."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Field(StrEnum):
    EMAIL = "email"
    PHONE = "phone"
    WHATSAPP = "whatsapp"
    INSTAGRAM = "instagram"
    FACEBOOK = "facebook"
    LINE = "line"
    MESSENGER = "messenger"
    TWITTER = "twitter"
    LINKEDIN = "linkedin"
    WEIBO = "weibo"
    WECHAT = "wechat"
    SNAPCHAT = "snapchat"


@dataclass(frozen=True, slots=True)
class ContactMatch:
    """One contact detail: `start` and `end` index the original text, of which `raw` is that slice.

    `extension` holds the digits of a phone extension, which `raw` includes and `value` does not.
    """

    field: Field
    value: str
    start: int
    end: int
    raw: str
    confidence: float
    rule: str
    extension: str = ""


@dataclass(frozen=True, slots=True)
class NameMatch:
    """Stated name of a person, which alone makes no lead."""

    value: str
    start: int
    end: int
    raw: str
    rule: str


class Review(StrEnum):
    """Operator's decision on an application for capture; without an operator all are approved."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class CaptureSwitch:
    """Capture switch of an account with its start; older messages are never read.

    ``review`` is the state of the application; capture can be turned on once it is approved.
    """

    channel_account_id: str
    business_id: str
    changed_at: datetime
    is_on: bool = False
    company_name: str = ""
    company_site: str = ""
    privacy_policy_url: str = ""
    turned_on_at: datetime | None = None
    review: Review = Review.APPROVED
    refused_reason: str = ""
    applied_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MessageContacts:
    """Contact details of one message, and a stated name, which alone is no contact (R36)."""

    contacts: tuple[ContactMatch, ...]
    name: NameMatch | None
