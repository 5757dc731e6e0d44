"""What the builder offers: each kind of question with its usual label, autocomplete word and bounds."""

from dataclasses import dataclass
from typing import Final

from contatto.forms.model import Kind


@dataclass(frozen=True, slots=True)
class Usual:
    """A new question of a kind; ``autocomplete`` is the HTML word that lets a browser fill it in."""

    label: str
    autocomplete: str = "off"
    high: int | None = None
    required: bool = False


USUAL: Final = {
    Kind.NAME: Usual("Your name", "name", 120),
    Kind.EMAIL: Usual("E-mail", "email", 254, required=True),
    Kind.PHONE: Usual("Phone number", "tel-national", 32, required=True),
    Kind.WHATSAPP: Usual("WhatsApp number", "tel-national", 32),
    Kind.INSTAGRAM: Usual("Instagram name", high=100),
    Kind.FACEBOOK: Usual("Facebook name", high=100),
    Kind.LINE: Usual("LINE id", high=100),
    Kind.MESSENGER: Usual("Messenger name", high=100),
    Kind.TWITTER: Usual("Name on X (Twitter)", high=100),
    Kind.LINKEDIN: Usual("LinkedIn profile", high=200),
    Kind.WEIBO: Usual("Weibo name", high=100),
    Kind.WECHAT: Usual("WeChat id", high=100),
    Kind.SNAPCHAT: Usual("Snapchat name", high=100),
    Kind.CITY: Usual("City", "address-level2", 100),
    Kind.POSTCODE: Usual("Postcode", "postal-code", 16),
    Kind.COUNTRY: Usual("Country", "country"),
    Kind.DATE: Usual("Date"),
    Kind.APPOINTMENT: Usual("When would you like to come?"),
    Kind.NUMBER: Usual("How many?"),
    Kind.TEXT: Usual("Your answer", high=200),
    Kind.LONG_TEXT: Usual("Tell us more", high=1_000),
    Kind.CHOICE: Usual("Choose one"),
    Kind.CHOICES: Usual("Choose one or more"),
    Kind.HIDDEN: Usual("Hidden"),
}
AUTOCOMPLETE: Final = (
    "off", "name", "given-name", "family-name", "email", "tel", "tel-national", "address-level2",
    "postal-code", "country", "bday", "organization", "organization-title", "street-address",
)  # fmt: skip
PHONES: Final = frozenset({Kind.PHONE, Kind.WHATSAPP})
CHOOSERS: Final = frozenset({Kind.CHOICE, Kind.CHOICES})
TEXTS: Final = frozenset({Kind.NAME, Kind.CITY, Kind.POSTCODE, Kind.TEXT, Kind.LONG_TEXT})
TEXT_LIMIT: Final = 2_000
"""Most characters that any answer may have, whatever its question says."""
