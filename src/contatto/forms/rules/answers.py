"""Texts of forms, validation of answers, appointment slots and signed opening times."""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import accumulate
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

import phonenumbers
from babel import Locale
from babel.dates import format_date, format_skeleton
from itsdangerous import Signer

from contatto.capture.model import ContactMatch
from contatto.capture.rules import detect_contacts
from contatto.forms.model import (
    CONTACTS,
    END,
    REFUSE,
    Answers,
    Booking,
    Content,
    FormQuestion,
    HiddenValue,
    Hours,
    Option,
    Problem,
    QuestionAnswer,
    QuestionKind,
    Submission,
)
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.form_fields import read_whole
from contatto.kit.i18n import N_
from contatto.kit.languages import SOURCE
from contatto.kit.values import InvalidEmail, checked_email


@dataclass(frozen=True, slots=True)
class Usual:
    """Defaults of a new question; ``autocomplete`` is the HTML token for browsers."""

    label: str
    autocomplete: str = "off"
    high: int | None = None
    required: bool = False


USUAL: Final = {
    QuestionKind.NAME: Usual("Your name", "name", 120),
    QuestionKind.EMAIL: Usual("E-mail", "email", 254, required=True),
    QuestionKind.PHONE: Usual("Phone number", "tel-national", 32, required=True),
    QuestionKind.WHATSAPP: Usual("WhatsApp number", "tel-national", 32),
    QuestionKind.INSTAGRAM: Usual("Instagram name", high=100),
    QuestionKind.FACEBOOK: Usual("Facebook name", high=100),
    QuestionKind.LINE: Usual("LINE ID", high=100),
    QuestionKind.MESSENGER: Usual("Messenger name", high=100),
    QuestionKind.TWITTER: Usual("Name on X (Twitter)", high=100),
    QuestionKind.LINKEDIN: Usual("LinkedIn profile", high=200),
    QuestionKind.WEIBO: Usual("Weibo name", high=100),
    QuestionKind.WECHAT: Usual("WeChat ID", high=100),
    QuestionKind.SNAPCHAT: Usual("Snapchat name", high=100),
    QuestionKind.CITY: Usual("City", "address-level2", 100),
    QuestionKind.POSTCODE: Usual("Postcode", "postal-code", 16),
    QuestionKind.COUNTRY: Usual("Country", "country"),
    QuestionKind.DATE: Usual("Date"),
    QuestionKind.APPOINTMENT: Usual("When would you like to come?"),
    QuestionKind.NUMBER: Usual("How many?"),
    QuestionKind.TEXT: Usual("Your answer", high=200),
    QuestionKind.LONG_TEXT: Usual("Tell us more", high=1_000),
    QuestionKind.CHOICE: Usual("Choose one"),
    QuestionKind.CHOICES: Usual("Choose one or more"),
    QuestionKind.HIDDEN: Usual("Hidden"),
}
AUTOCOMPLETE: Final = (
    "off", "name", "given-name", "family-name", "email", "tel", "tel-national", "address-level2",
    "postal-code", "country", "bday", "organization", "organization-title", "street-address",
)  # fmt: skip
PHONES: Final = frozenset({QuestionKind.PHONE, QuestionKind.WHATSAPP})
CHOOSERS: Final = frozenset({QuestionKind.CHOICE, QuestionKind.CHOICES})
TEXTS: Final = frozenset(
    {QuestionKind.NAME, QuestionKind.CITY, QuestionKind.POSTCODE, QuestionKind.TEXT, QuestionKind.LONG_TEXT}
)
TEXT_LIMIT: Final = 2_000
"""Maximum length of any answer, beyond the limit of its question."""


_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


def text_of(content: Content, key: str, language: str) -> str:
    """Return a text in a language, else in the form's first one, else empty."""
    own = content.words.get(language, {}).get(key, "")
    return own or content.words.get(content.languages[0], {}).get(key, "")


def label_of(content: Content, question: FormQuestion, language: str) -> str:
    return text_of(content, f"{question.key}.label", language)


def option_text(content: Content, question: FormQuestion, option: Option, language: str) -> str:
    return text_of(content, f"{question.key}.option.{option.key}", language)


def best_language(content: Content, preferred: Iterable[str]) -> str:
    """Return the first preferred language of the form; a dialect counts as its language."""
    by_base: dict[str, str] = {}
    for form_language in content.languages:
        by_base.setdefault(form_language.lower().partition("-")[0], form_language)
    exact = {form_language.lower(): form_language for form_language in content.languages}
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
            is_number = re.fullmatch(r"[01](?:\.\d{1,3})?", weight)
            weighed.append((float(weight) if is_number else 1.0, tag))
    return [tag for _, tag in sorted(weighed, key=lambda pair: -pair[0])]


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


def is_call(text: str) -> bool:
    """Report whether a text is a complete phone number with its country code."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, None))
    except phonenumbers.NumberParseException:
        return False


type Shown = tuple[str, str]
"""Text for people, and normal form."""


class UnreadableAnswer(Exception):
    """Invalid answer; the message is for the person who typed it.

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
"""Valid years of dates: birthdays and appointments."""
_KEPT_CONTROLS: Final = "\n"
_REMOVED: Final = frozenset({"Cc", "Cs"})
"""Unicode categories that `clean` removes: controls and surrogates."""


def clean(text: str) -> str:
    """Normalize text: composed, trimmed, with LF line ends and no control characters."""
    if text.isascii() and text.isprintable():  # the fast path for most texts
        return text.strip()
    lines = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    letters = (
        letter for letter in lines if letter in _KEPT_CONTROLS or unicodedata.category(letter) not in _REMOVED
    )
    return "".join(letters).strip()


def read_text(question: FormQuestion, text: str, lang: str = SOURCE) -> Shown:
    """Read one answer; ``lang`` is the language that its writer reads the form in.

    Raises UnreadableAnswer: with an instruction for the person.
    """
    kind, most = question.kind, min(TEXT_LIMIT, question.high or TEXT_LIMIT)
    if kind is QuestionKind.NUMBER:
        return _number(question, text, lang)
    if len(text) > most:
        raise UnreadableAnswer("Use at most %(num)s characters.", most)
    if kind in CONTACTS:
        return _contact(question, text)
    if kind is QuestionKind.POSTCODE:
        if not _POSTCODE.fullmatch(text):
            raise UnreadableAnswer("Enter a postcode with letters and digits.")
        text = text.upper()
    elif kind is QuestionKind.COUNTRY:
        if text not in phonenumbers.SUPPORTED_REGIONS:
            raise UnreadableAnswer("Choose a country from the list.")
    elif kind is QuestionKind.DATE:
        try:
            day = date.fromisoformat(text if _DAY.fullmatch(text) else "")
        except ValueError as error:
            raise UnreadableAnswer("Choose a day.") from error
        if day.year not in _YEARS:
            raise UnreadableAnswer("Choose a day in the years 1900 to 2199.")
    else:
        text = text if kind is QuestionKind.LONG_TEXT else " ".join(text.split())
        if question.low is not None and len(text) < question.low:
            raise UnreadableAnswer("Use at least %(num)s characters.", question.low)
    return text, text


def _contact(question: FormQuestion, text: str) -> Shown:
    """Read a contact detail, as capture in chats does where it can."""
    kind, country = question.kind, question.country
    if kind in PHONES:
        try:
            number = phonenumbers.parse(text, country or None)
        except phonenumbers.NumberParseException as error:
            raise UnreadableAnswer("Enter a phone number with its country code.") from error
        if not phonenumbers.is_valid_number(number):
            raise UnreadableAnswer(
                "This is not a valid phone number in that country. Check the digits and the country."
            )
        international, e164 = (
            phonenumbers.format_number(number, style)
            for style in (
                phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164
            )
        )  # fmt: skip
        return international, e164
    is_email = kind is QuestionKind.EMAIL
    plain = text if is_email else text.strip().removeprefix("@")
    written = text if is_email or "/" in text else f"{kind.value}: @{plain}"
    matches = detect_contacts(written, country or "SG")
    fitting = [match for match in matches if match.field is CONTACTS[kind]]
    raw_texts = plain.lower(), written.lower()
    is_whole = len(matches) == 1 and bool(fitting) and fitting[0].raw.lower() in raw_texts
    value = fitting[0].value if is_whole or (len(fitting) == 1 and "/" in written) else None
    if is_email:
        try:
            value = value or checked_email(text)
        except InvalidEmail as error:
            raise UnreadableAnswer("Enter an e-mail address, such as name@example.com.") from error
        return value, value
    if value is None and not _HANDLE.fullmatch(plain):
        raise UnreadableAnswer("Enter only the name or id, without spaces.")
    return plain, value or plain.lower()


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


@dataclass(frozen=True, slots=True)
class FormPath:
    """Keys of the visible questions; ``refused`` if the offer does not fit."""

    met: tuple[str, ...]
    refused: bool


def find_way(content: Content, answers: Answers) -> FormPath:
    """Follow the jumps and conditions of a form for these answers."""
    met: list[str] = []
    skip_to = ""
    for question in content.questions:
        if skip_to and skip_to != question.key:
            continue
        skip_to = ""
        condition = answers.get(question.show_if, "")
        is_shown = question.show_value in (condition if isinstance(condition, list) else [condition])
        if question.show_if and not (question.show_if in met and is_shown):
            continue
        met.append(question.key)
        chosen = chosen_options(question, answers) if question.kind is QuestionKind.CHOICE else ()
        goto = next((option.goto for option in chosen), "")
        if goto in (END, REFUSE):
            return FormPath(tuple(met), goto == REFUSE)
        skip_to = goto
    return FormPath(tuple(met), refused=False)


def count_score(content: Content, answers: Answers) -> int:
    """Sum the points of the chosen options of visible questions."""
    met = set(find_way(content, answers).met)
    return sum(
        option.score
        for question in content.questions
        if question.key in met
        for option in chosen_options(question, answers)
    )


def chosen_options(question: FormQuestion, answers: Answers) -> list[Option]:
    value = answers.get(question.key, "")
    keys = value if isinstance(value, list) else [value]
    return [option for option in question.options if option.key in keys]


SLOT_LENGTHS: Final = (15, 30, 45, 60, 90, 120)
"""Allowed lengths of a slot in minutes."""
DAYS_AHEAD: Final = (7, 14, 28)
"""Days ahead that a business may open for booking; a week has each open weekday."""
MOST_SLOTS: Final = 500
_DAY_MINUTES: Final = 24 * 60
_SLOT_KEY: Final = "%Y-%m-%dT%H:%M"
"""Local start of a slot, as the form sends it."""


@cache
def list_zones() -> tuple[str, ...]:
    """Return the IANA time zones of places."""
    return tuple(sorted(name for name in available_timezones() if "/" in name and name[:4] != "Etc/"))


def list_hours(content: Content) -> dict[str, Hours]:
    """Return the opening hours of a form's appointments, by the key of the question."""
    return {
        question.key: question.hours or Hours()
        for question in content.questions
        if question.kind is QuestionKind.APPOINTMENT
    }


def read_clock(text: str) -> int | None:
    """Parse ``09:30`` into the minute of the day, up to ``24:00``; None for invalid text."""
    hour, colon, minute = text.partition(":")
    digits = hour + minute
    if not (colon and len(hour) == len(minute) == 2 and digits.isascii() and digits.isdigit()):
        return None
    minutes = int(hour) * 60 + int(minute)
    return minutes if int(minute) < 60 and minutes <= _DAY_MINUTES else None


def count_a_day(hours: Hours) -> int:
    """Return the number of slots of an open day; 0 for invalid hours."""
    opens, closes = read_clock(hours.opens), read_clock(hours.closes)
    if opens is None or closes is None or hours.slot_minutes not in SLOT_LENGTHS:
        return 0
    return max(0, (closes - opens) // hours.slot_minutes)


SLOT_TAKEN: Final = N_("Somebody has just taken this time. Choose another one.")


def list_slots(hours: Hours, at: datetime, bookings: Sequence[Booking] = ()) -> list[datetime]:
    """Return the times after ``at`` that can still be chosen, soonest first, in the zone of the hours.

    ``bookings`` are appointments of other persons.
    """
    opens = read_clock(hours.opens)
    if opens is None or hours.zone not in list_zones():
        return []
    zone = ZoneInfo(hours.zone)
    today = at.astimezone(zone).date()
    slots: list[datetime] = []
    for after in range(min(hours.ahead_days, max(DAYS_AHEAD)) + 1):
        day = today + timedelta(days=after)
        if day.isoweekday() not in hours.days:
            continue
        for number in range(count_a_day(hours)):
            hour, minute = divmod(opens + number * hours.slot_minutes, 60)
            slot = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
            # a local time that daylight saving skips changes in a round trip through UTC
            real_slot = slot.astimezone(UTC).astimezone(zone)
            if slot > at and real_slot.replace(tzinfo=None) == slot.replace(tzinfo=None):
                slots.append(slot)
    slots = slots[:MOST_SLOTS]
    if not bookings:
        return slots
    length = timedelta(minutes=hours.slot_minutes)
    ordered = sorted(bookings, key=lambda booking: booking.starts_at)
    starts = [booking.starts_at for booking in ordered]
    # bookings of different lengths may overlap: for each one the latest end so far counts
    ends = list(accumulate((booking.ends_at for booking in ordered), max))
    return [
        slot
        for slot in slots
        if not (before := bisect_left(starts, slot.astimezone(UTC) + length)) or ends[before - 1] <= slot
    ]


def show_slots(
    hours: Hours, language: str, at: datetime, bookings: Sequence[Booking] = ()
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return free days and times in a language: the day's name, then key and text of each slot."""
    locale = Locale.parse(language, sep="-")
    days: dict[str, list[tuple[str, str]]] = {}
    for slot in list_slots(hours, at, bookings):
        day = str(format_date(slot, "full", locale=locale))
        text = f"{format_skeleton('MMMEd', slot, tzinfo=slot.tzinfo, locale=locale)}, {slot:%H:%M}"
        days.setdefault(day, []).append((slot.strftime(_SLOT_KEY), text))
    return list(days.items())


LEAST_S: Final = 2
"""Shortest time in seconds that a person needs to fill a form in."""


def sign_opening(number: int, visitor: str, at_s: int, signer: Signer) -> str:
    """Sign the time at which a visitor opened a version of a form, to reject bots."""
    return f"{at_s}.{signer.get_signature(f'{number}\0{visitor}\0{at_s}').decode()}"


def check_opening(token: str, number: int, visitor: str, now_s: float, signer: Signer) -> None:
    """Refuse a forged opening time, or a submission that came too soon after it.

    Raises Refused: UNSIGNED; TOO_MANY with the seconds to wait before the next attempt.
    """
    text, _, signature = token.partition(".")
    at_s = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
    if not signer.verify_signature(f"{number}\0{visitor}\0{at_s}", signature):
        raise Refused(errors.UNSIGNED, "Open the form again, then send it. Your answers are kept.")
    left_s = at_s + LEAST_S - now_s
    if left_s > 0:
        raise Refused(errors.TOO_MANY, "This was sent too quickly. Try again in a moment.", int(left_s) + 1)


MISSING: Final = N_("Please answer this.")
COUNTRY_PART: Final = ".country"
"""Suffix of the field with the country of a phone number."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of a validation: answers of visible questions, problems, and the refusal."""

    answers: tuple[QuestionAnswer, ...]
    problems: tuple[Problem, ...]
    refused: bool


def check_submission(
    content: Content,
    sent: Submission,
    hidden: Mapping[HiddenValue, str],
    at: datetime,
    bookings: Sequence[Booking] = (),
) -> Checked:
    """Validate a submission; answers to hidden questions are ignored.

    ``bookings`` are appointments of other persons.
    """
    way = find_way(content, sent.answers)
    answers: list[QuestionAnswer] = []
    problems: list[Problem] = []
    for question in content.questions:
        if question.key not in way.met:
            continue
        try:
            answer = _answer(content, question, sent, hidden, at, bookings)
        except UnreadableAnswer as error:
            own = text_of(content, f"{question.key}.message", sent.language)
            is_own = own and error.says != SLOT_TAKEN
            problems.append(
                Problem(question.key, own) if is_own else Problem(question.key, error.says, error.num)
            )
        else:
            answers += [answer] if answer else []
    if not way.refused:
        problems += [
            Problem(consent.key, "Please agree to this to send the form.")
            for consent in content.consents
            if consent.required and consent.key not in sent.consents
        ]
    return Checked(tuple(answers), tuple(problems), way.refused)


def contacts_of(answers: tuple[QuestionAnswer, ...]) -> tuple[ContactMatch, ...]:
    """Return the contact details among the answers, with the question as their evidence."""
    return tuple(
        ContactMatch(
            CONTACTS[answer.kind], answer.value, 0, len(answer.shown), answer.shown, 1.0, f"form.{answer.key}"
        )
        for answer in answers
        if answer.kind in CONTACTS
    )


def _answer(
    content: Content,
    question: FormQuestion,
    sent: Submission,
    hidden: Mapping[HiddenValue, str],
    at: datetime,
    bookings: Sequence[Booking],
) -> QuestionAnswer | None:
    label = label_of(content, question, sent.language)
    if question.kind is QuestionKind.HIDDEN:
        value = hidden.get(question.source, "") if question.source else ""
        return QuestionAnswer(question.key, label, question.kind, value, value) if value else None
    if question.kind in CHOOSERS:
        options = chosen_options(question, sent.answers)
        if question.kind is QuestionKind.CHOICE:
            options = options[:1]
        if not options:
            if question.required:
                raise UnreadableAnswer("Please choose an answer.")
            return None
        shown = ", ".join(option_text(content, question, option, sent.language) for option in options)
        value = " ".join(option.key for option in options)
        return QuestionAnswer(question.key, label, question.kind, shown, value)
    raw_answer = sent.answers.get(question.key, "")
    text = clean(raw_answer) if isinstance(raw_answer, str) else ""
    if not text:
        if question.required:
            raise UnreadableAnswer(MISSING)
        return None
    if question.kind is QuestionKind.APPOINTMENT:
        hours = question.hours or Hours()
        slot = next((slot for slot in list_slots(hours, at) if slot.strftime(_SLOT_KEY) == text), None)
        if slot is None:
            raise UnreadableAnswer("Choose a time from the list.")
        until = slot.astimezone(UTC) + timedelta(minutes=hours.slot_minutes)
        if any(booking.starts_at < until and slot < booking.ends_at for booking in bookings):
            raise UnreadableAnswer(SLOT_TAKEN)
        # for people with the zone of the business, as the normal form with its UTC offset
        shown = f"{slot:%Y-%m-%d %H:%M} ({hours.zone})"
        value = slot.isoformat(timespec="minutes")
    else:
        country = sent.answers.get(f"{question.key}{COUNTRY_PART}", "")  # as the person picked it
        if question.kind in PHONES and isinstance(country, str) and len(country) == 2:
            question = replace(question, country=country.upper())
        shown, value = read_text(question, text, sent.language)
    return QuestionAnswer(question.key, label, question.kind, shown, value)
