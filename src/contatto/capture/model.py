"""Contact fields, matches with their evidence, and stated names."""

from dataclasses import dataclass
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

    `extension` holds the digits that ring one desk behind a phone number: in `raw`, and not in `value`.
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
    """Stated name; an attribute of a person, which alone makes no lead."""

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
