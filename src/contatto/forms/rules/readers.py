"""One answer as it was typed, read by its kind: the text for people and the normal form, or what is wrong."""

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from typing import Final

import phonenumbers

from contatto.capture.rules import detect_contacts
from contatto.forms.model import CONTACTS, FormQuestion, Kind
from contatto.forms.rules.kinds import TEXT_LIMIT
from contatto.kit.emails import InvalidEmail, checked_email
from contatto.kit.errors import Refused
from contatto.kit.languages import SOURCE
from contatto.kit.typed_numbers import read_whole

type Shown = tuple[str, str]
"""The text for people, and the normal form."""


class UnreadableAnswer(Exception):
    """An answer that cannot be taken; the message is for the person who typed it.

    ``num`` fills in its ``%(num)s``, if it has one.
    """

    def __init__(self, says: str, num: int | None = None) -> None:
        super().__init__(says)
        self.says, self.num = says, num


_HANDLE: Final = re.compile(r"[\w.\-]{2,100}")
_POSTCODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 \-]{1,15}")
_MOST_NUMBER: Final = 10**12
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEARS: Final = range(1900, 2200)
"""Years of dates that people answer: birthdays of all, and appointments."""
_KEPT_CONTROLS: Final = "\n"


def clean(text: str) -> str:
    """Text as we keep it: composed, without control characters, one kind of line end, trimmed."""
    if text.isascii() and text.isprintable():  # most are, and nothing of them goes
        return text.strip()
    lines = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    kept = (each for each in lines if each in _KEPT_CONTROLS or unicodedata.category(each) not in _REFUSED)
    return "".join(kept).strip()


_REFUSED: Final = frozenset({"Cc", "Cs"})


def read_text(question: FormQuestion, text: str, lang: str = SOURCE) -> Shown:
    """Read one answer; ``lang`` is the language that its writer reads the form in.

    Raises:
        Unfit: with what the person should do.
    """
    most = min(TEXT_LIMIT, question.high or TEXT_LIMIT)
    if len(text) > most and question.kind is not Kind.NUMBER:
        raise UnreadableAnswer("Use at most %(num)s characters.", most)
    if question.kind is Kind.NUMBER:
        return _number(question, text, lang)
    return _READERS[question.kind](question, text)


def _plain(question: FormQuestion, text: str) -> Shown:
    if question.kind is not Kind.LONG_TEXT:
        text = " ".join(text.split())
    if question.low is not None and len(text) < question.low:
        raise UnreadableAnswer("Use at least %(num)s characters.", question.low)
    return text, text


def _email(_question: FormQuestion, text: str) -> Shown:
    found = _as_captured(Kind.EMAIL, text, text, "")
    if found:
        return found, found
    try:
        value = checked_email(text)
    except InvalidEmail as error:
        raise UnreadableAnswer("Enter an e-mail address, such as name@example.com.") from error
    return value, value


def _phone(question: FormQuestion, text: str) -> Shown:
    try:
        number = phonenumbers.parse(text, question.country or None)
    except phonenumbers.NumberParseException as error:
        raise UnreadableAnswer("Enter a phone number with its country code.") from error
    if not phonenumbers.is_valid_number(number):
        raise UnreadableAnswer(
            "This is not a valid phone number in that country. Check the digits and the country."
        )
    value = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL), value


def _handle(question: FormQuestion, text: str) -> Shown:
    plain = text.strip().removeprefix("@")
    written = text if "/" in text else f"{question.kind.value}: @{plain}"
    value = _as_captured(question.kind, written, plain, question.country)
    if value is None and not _HANDLE.fullmatch(plain):
        raise UnreadableAnswer("Enter only the name or id, without spaces.")
    return plain, value or plain.lower()


def _as_captured(kind: Kind, written: str, typed: str, country: str) -> str | None:
    """The normal form that the chat would give, so that both ways land on the same contact detail."""
    found = detect_contacts(written, country or "SG")
    fitting = [match for match in found if match.field is CONTACTS[kind]]
    whole = len(found) == 1 and bool(fitting) and fitting[0].raw.lower() in (typed.lower(), written.lower())
    return fitting[0].value if whole or (len(fitting) == 1 and "/" in written) else None


def _postcode(_question: FormQuestion, text: str) -> Shown:
    if not _POSTCODE.fullmatch(text):
        raise UnreadableAnswer("Enter a postcode with letters and digits.")
    return text.upper(), text.upper()


def _country(_question: FormQuestion, text: str) -> Shown:
    if text not in phonenumbers.SUPPORTED_REGIONS:
        raise UnreadableAnswer("Choose a country from the list.")
    return text, text


def _date(_question: FormQuestion, text: str) -> Shown:
    try:
        if not _DAY.fullmatch(text):
            raise ValueError(text)
        day = date.fromisoformat(text)
    except ValueError as error:
        raise UnreadableAnswer("Choose a day.") from error
    if day.year not in _YEARS:
        raise UnreadableAnswer("Choose a day in the years 1900 to 2199.")
    return day.isoformat(), text


def _number(question: FormQuestion, text: str, lang: str) -> Shown:
    try:
        value = read_whole(question.key, text.removeprefix("+"), lang) or 0
    except Refused as refused:
        raise UnreadableAnswer("Enter a whole number.") from refused
    if abs(value) >= _MOST_NUMBER:
        raise UnreadableAnswer("Enter a whole number.")
    if question.low is not None and value < question.low:
        raise UnreadableAnswer("Enter a number of %(num)s or more.", question.low)
    if question.high is not None and value > question.high:
        raise UnreadableAnswer("Enter a number of %(num)s or less.", question.high)
    return str(value), str(value)


_READERS: Final[dict[Kind, Callable[[FormQuestion, str], Shown]]] = {
    **dict.fromkeys(CONTACTS, _handle),
    Kind.EMAIL: _email,
    Kind.PHONE: _phone,
    Kind.WHATSAPP: _phone,
    Kind.NAME: _plain,
    Kind.CITY: _plain,
    Kind.TEXT: _plain,
    Kind.LONG_TEXT: _plain,
    Kind.POSTCODE: _postcode,
    Kind.COUNTRY: _country,
    Kind.DATE: _date,
}
