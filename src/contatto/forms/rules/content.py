"""Kinds of questions, texts by language, and safe links of a form."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import phonenumbers

from contatto.forms.model import Consent, Content, FormQuestion, Kind, Option
from contatto.kit.languages import RIGHT_TO_LEFT


@dataclass(frozen=True, slots=True)
class Usual:
    """Defaults of a new question; ``autocomplete`` is the HTML token for browsers."""

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


_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


def text_of(content: Content, key: str, language: str) -> str:
    """Return a text in a language, else in the form's first one, else empty."""
    own = content.words.get(language, {}).get(key, "")
    return own or content.words.get(content.languages[0], {}).get(key, "")


def label_of(content: Content, question: FormQuestion, language: str) -> str:
    return text_of(content, f"{question.key}.label", language)


def option_text(content: Content, question: FormQuestion, option: Option, language: str) -> str:
    return text_of(content, f"{question.key}.option.{option.key}", language)


def consent_text(content: Content, consent: Consent, language: str) -> str:
    return text_of(content, f"{consent.key}.text", language)


def direction_of(language: str) -> str:
    return "rtl" if language in RIGHT_TO_LEFT else "ltr"


def best_language(content: Content, preferred: Iterable[str]) -> str:
    """Return the first preferred language of the form; a dialect counts as its language."""
    by_base: dict[str, str] = {}
    for have in content.languages:
        by_base.setdefault(have.lower().partition("-")[0], have)
    exact = {have.lower(): have for have in content.languages}
    for tag in preferred:
        language = exact.get(tag.lower()) or by_base.get(tag.lower().partition("-")[0])
        if language:
            return language
    return content.languages[0]


def accepted_languages(header: str) -> list[str]:
    """Parse an ``Accept-Language`` header, most preferred first. Source: RFC 9110, section 12.5.4."""
    weighed: list[tuple[float, str]] = []
    for part in header[:500].split(","):
        tag, _, weight = part.strip().partition(";q=")
        if _TAG.fullmatch(tag):
            weighed.append((_weight(weight), tag))
    return [tag for _, tag in sorted(weighed, key=lambda each: -each[0])]


def _weight(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](?:\.\d{1,3})?", text) else 1.0


def hash_text(text: str) -> str:
    """The SHA-256 of a consent's text, as it stands in the receipt."""
    return hashlib.sha256(text.encode()).hexdigest()


_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)


def is_link(text: str) -> bool:
    """Report whether a text is a complete https address without credentials."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isprintable() and " " not in text and len(text) <= 2_000
    names_host = "." in (parts.hostname or "") and "@" not in parts.netloc and port != 0
    return plain and parts.scheme == "https" and names_host


def may_become_link(text: str) -> bool:
    """Report whether a partly typed address has no scheme but http or https.

    Text before a colon is a scheme, or a host with a port if it contains a dot.
    """
    scheme = _SCHEME.match(text)
    return scheme is None or "." in scheme[1] or scheme[1].lower() in ("https", "http")


def shown_link(text: str) -> str:
    """Return a safe link; "" for everything else."""
    return text if is_link(text) else ""


def is_call(text: str) -> bool:
    """Report whether a text is a complete phone number with its country code."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, None))
    except phonenumbers.NumberParseException:
        return False
