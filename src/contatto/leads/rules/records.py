"""Rules of leads: filters, details, statuses, merges, facets, links and texts."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final
from unicodedata import decimal, normalize
from urllib.parse import quote

import phonenumbers

from contatto.capture.model import Field
from contatto.capture.rules import detect_contacts
from contatto.kit import errors
from contatto.kit.api_types import Answer, IdText, TimeText, api_time, capitals
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, LazyText
from contatto.kit.values import check_year, day_of, read_number
from contatto.leads.model import (
    STATUS_TEXTS,
    ContactPoint,
    HistoryEntry,
    HistoryKind,
    Lead,
    LeadSource,
    LeadStatus,
    Origin,
    Signal,
)
from contatto.measurement.model import MeasuredAd

MOVES: Final = {
    LeadStatus.RAW: frozenset(
        {LeadStatus.CONTACTED, LeadStatus.QUALIFIED, LeadStatus.UNQUALIFIED, LeadStatus.CONVERTED}
    ),
    LeadStatus.CONTACTED: frozenset({LeadStatus.QUALIFIED, LeadStatus.UNQUALIFIED, LeadStatus.CONVERTED}),
    LeadStatus.QUALIFIED: frozenset({LeadStatus.CONTACTED, LeadStatus.UNQUALIFIED, LeadStatus.CONVERTED}),
    LeadStatus.UNQUALIFIED: frozenset({LeadStatus.CONTACTED, LeadStatus.QUALIFIED}),
    LeadStatus.CONVERTED: frozenset({LeadStatus.QUALIFIED, LeadStatus.UNQUALIFIED}),
}
"""From a status to those that may follow. Nothing becomes raw again: somebody has looked at it."""

ARROW: Final = " → "
"""Between the old and the new value of a change, as a lead's history keeps it."""
UNDO_WITHIN: Final = timedelta(days=1)
"""For so long a change is offered to be undone."""
NAME_LIMIT: Final = 120
_MARK: Final = 4
_LEAST_WORD: Final = 4
_SPACES: Final = re.compile(r"\s+")
_MARK_PART: Final = re.compile(rf"[0-9a-f]{{1,{_MARK}}}")
_ACCENTS: Final = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]"
)
"""Combining marks of Latin, Greek, Cyrillic, Hebrew and Arabic, and signs without a width."""
_PLAIN_LETTERS: Final = str.maketrans(
    "\u00f8\u0142\u0111\u00f0\u0131\u0127\u0167\u014b\u0180\u2019\u02bc"
    "\u0671\u0649\u06cc\u06d2\u0629\u06a9\u06c1\u06be\u06d5",
    "olddihtnb''\u0627\u064a\u064a\u064a\u0647\u0643\u0647\u0647\u0647",
) | str.maketrans({"\u00e6": "ae", "\u0153": "oe", "\u00fe": "th"})
"""Letters that Unicode does not decompose, and Arabic ones that keyboards mix up, as their plain equals."""
_DETAILS: Final = re.compile(r"\S+@\S+|\+?\d(?:[\s().-]{0,2}\d){6,}")
"""What may be an address, or a number of seven digits and more."""


def check_seen(status: LeadStatus, seen_status: LeadStatus) -> None:
    """Refuse a change by somebody who had another status before their eyes. Raises Refused: CONFLICT."""
    if status is not seen_status:
        raise Refused(
            errors.CONFLICT,
            "Somebody else changed this. The status is now %(now)s; you saw %(seen)s.",
            now=LazyText(STATUS_TEXTS[status]),
            seen=LazyText(STATUS_TEXTS[seen_status]),
        )


def status_step_to_undo(
    steps: Iterable[HistoryEntry], status: LeadStatus, until: datetime
) -> HistoryEntry | None:
    """Return the change that gave a lead its status, if it is the last one, no undo, and recent."""
    changes = [step for step in steps if step.what in (HistoryKind.STATUS, HistoryKind.STATUS_UNDONE)]
    last = changes[-1] if changes else None
    if last is None or last.what is not HistoryKind.STATUS or until - last.at > UNDO_WITHIN:
        return None
    return last if last.detail.endswith(f"{ARROW}{status.value}") else None


def makes_lead(signal: Signal) -> bool:
    """Report whether a signal makes a new lead: contact details do, a name alone does not (R36)."""
    return bool(signal.contacts)


def better_name(current: str, signal: Signal) -> str:
    """Return the better name: a stated one beats the profile's, and an existing one is not lost."""
    stated, profile = (
        _spaced("".join(letter for letter in name if letter.isprintable())).strip()[:NAME_LIMIT]
        for name in (signal.stated_name or "", signal.profile_name)
    )
    return stated or current or profile


def person_label(name: str, person_id: str) -> str:
    """Return a person's name for people, or a short mark of the one who has none."""
    return name or f"Visitor {person_id[:_MARK]}"


def visitor_mark(text: str) -> str | None:
    """Return the beginning of a nameless person's id in a search such as "visitor 1a2b" or "1a2b".

    None means that the search is for something else. Words may be cut short and stand in any order.
    """
    words = fold_text(text).split()
    marks = [word for word in words if _MARK_PART.fullmatch(word)]
    other_words = [word for word in words if word not in marks]
    if len(marks) > 1 or not words:
        return None
    if any(len(word) < _LEAST_WORD or not "visitor".startswith(word) for word in other_words):
        return None
    return "".join(marks) if other_words or len(marks[0]) == _MARK else None


def fold_text(text: str) -> str:
    """Return the form of a text in which searches compare it.

    Case, width, accents and letters with one plain equal are folded, with one space between words. Marks of
    Thai, Hindi and Japanese are part of their letters and stay. Source: Unicode Standard Annex 15 (NFKD).
    """
    if text.isascii():
        return _spaced(text.casefold())
    parts = normalize("NFKD", text).casefold()
    return _spaced(normalize("NFC", _ACCENTS.sub("", parts).translate(_PLAIN_LETTERS)))


def has_all_words(text: str, words: Iterable[str]) -> bool:
    """Report whether a folded text holds all words, in any order; one letter counts as a word's beginning."""
    return all(word in text if not is_initial(word) else f" {word}" in f" {text}" for word in words)


def is_initial(word: str) -> bool:
    """Report whether a word is a single letter, which almost every name holds somewhere."""
    return len(word) == 1 and word.isascii() and word.isalnum()


def name_key(name: str) -> str:
    """Return a name for sorting and search. It is stored in clear, so contact details in it are left out.

    People put their number into the name that a platform shows.
    """
    plain = fold_text(name)
    cleaned = _DETAILS.sub(" ", plain)
    return (plain if cleaned == plain and plain.isascii() else fold_text(cleaned)).strip()


def detail_key(field: Field, value: str) -> tuple[Field, str]:
    """Return the key that all spellings of one detail share.

    An address keeps its capitals, but a phone may write ``Mei@`` for ``mei@``, and no mail service tells
    them apart. Source: RFC 5321, section 2.4.
    """
    return field, value.casefold() if field is Field.EMAIL else value


_PLAIN_NUMBER: Final = re.compile(r"\+[1-9][0-9]{7,14}")
_ONLY_REGION: Final = {
    str(code): regions[0]
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
    if len(regions) == 1
}
"""Countries with a code of their own: for most numbers no other check is needed."""


def phone_country(value: str) -> str | None:
    """Return the country of an international phone number, or None for an invalid one."""
    if not value.startswith("+"):
        return None
    if _PLAIN_NUMBER.fullmatch(value):
        for digits in (2, 3, 4):  # no code of a country is the beginning of another
            if (only := _ONLY_REGION.get(value[1:digits])) is not None:
                return only if only in phonenumbers.SUPPORTED_REGIONS else None
    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(value))
    except phonenumbers.NumberParseException:
        return None
    return region if region in phonenumbers.SUPPORTED_REGIONS else None


def search_values(text: str, countries: Iterable[str] = ()) -> list[str]:
    """Return the spellings under which a searched contact value may be indexed.

    As typed; as an international number without its plus; and as the detector reads it in the countries where
    the business has accounts, so that a national number is found too.
    """
    typed = text.strip()
    digits = "".join(str(decimal(letter)) for letter in typed if letter.isdecimal()).lstrip("0")
    spellings = [typed, typed.lower(), typed.lstrip("@").lower()]
    if len(digits) >= 7:
        spellings.append(f"+{digits}")
    spellings += [match.value for country in countries for match in detect_contacts(typed, country)]
    return list(dict.fromkeys(spelling for spelling in spellings if spelling))


def _spaced(text: str) -> str:
    """Return a text with one space between words. One space alone is printable: most names need no more."""
    return text if text.isprintable() and "  " not in text else _SPACES.sub(" ", text)


MERGED_FIELDS: Final = ("name", "status", "owner_id", "created_at", "updated_at")
"""Fields of a lead that a merge may change."""


NAME: Final = "name"
CHAT_FIELDS: Final = (NAME, *(field.value for field in Field))
"""What a lead of a chat may have: a name, and each kind of contact detail."""
ORIGINS: Final = {
    LeadSource.DIRECT_MESSAGE: (Origin.CHAT, Origin.MANUAL),
    LeadSource.INSTANT_FORM: (Origin.FORM,),
}
_SOURCES: Final = {origin: source for source, origins in ORIGINS.items() for origin in origins}


def source_of(lead: Lead) -> LeadSource | None:
    """Return the source of a lead; None for an imported one, which no chat and no form made."""
    return _SOURCES.get(lead.origin)


def chat_data(lead: Lead, points: Iterable[ContactPoint]) -> dict[str, str]:
    """Return the name and the contact details of a lead, by field; several values of a field with commas."""
    values: dict[str, list[str]] = {NAME: [lead.name]} if lead.name else {}
    for point in points:
        values.setdefault(point.field.value, []).append(point.value)
    return {field: ", ".join(values[field]) for field in CHAT_FIELDS if field in values}


def ad_data(ad: MeasuredAd | None) -> Mapping[str, str]:
    """Return ids and names of the ad that earned a lead, with its ad group and campaign."""
    return {
        "campaign_id": str(ad.campaign_number) if ad else "",
        "campaign_name": ad.campaign_name if ad else "",
        "adgroup_id": str(ad.ad_group_number) if ad else "",
        "adgroup_name": ad.ad_group_name if ad else "",
        "ad_id": str(ad.ad_number) if ad else "",
        "ad_name": ad.ad_name if ad else "",
    }


class LeadMeta(Answer, frozen=True):
    """Context of a lead beside its data; without a form or an ad their ids and names are empty."""

    lead_source: LeadSource
    lead_id: IdText
    page_id: str
    campaign_id: str
    campaign_name: str
    adgroup_id: str
    adgroup_name: str
    ad_id: str
    ad_name: str
    create_time: TimeText
    status: Annotated[str, capitals(LeadStatus)]
    is_test: bool


def meta_data(lead: Lead, source: LeadSource, ad: MeasuredAd | None, page_id: str = "") -> LeadMeta:
    """Return the ``meta_data`` of a lead in the API; ``is_test`` and ``status`` are extensions."""
    return LeadMeta(
        lead_source=source,
        lead_id=str(lead.number),
        page_id=page_id,
        **ad_data(ad),
        create_time=api_time(lead.created_at),
        status=lead.status.upper(),
        is_test=lead.is_test,
    )


NOTE_LIMIT: Final = 4_000
TASK_LIMIT: Final = 200
LABEL_LIMIT: Final = 40
VIEW_LIMIT: Final = 60
MOST_LABELS: Final = 200
"""Labels of one business; more than one can choose from is a sign of something else."""
TONES: Final = 6
_LINE: Final = re.compile(r"\s+")


def read_note(text: str) -> str:
    """Return a note's text: lines stay, control characters go. Raises Refused: INVALID."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    visible = "".join(letter for letter in lines if letter == "\n" or letter.isprintable()).strip()
    if not 0 < len(visible) <= NOTE_LIMIT:
        raise Refused(errors.INVALID, "text: use 1 to %(most)s characters.", most=NOTE_LIMIT)
    return visible


def read_day(text: str) -> date | None:
    """Return a day as YYYY-MM-DD; None for an empty text. Raises Refused: INVALID."""
    if not text.strip():
        return None
    check_year("due_on", text)
    day = day_of(text.strip())
    if day is None:
        raise Refused(errors.INVALID, "due_on: enter the day as YYYY-MM-DD.")
    return day


def read_line(field: str, text: str, most: int) -> str:
    """Return the text of a field in one line. Raises Refused: INVALID, when it is empty or too long."""
    visible = "".join(letter if letter.isprintable() else " " for letter in text)
    line = _LINE.sub(" ", visible).strip()
    if not 0 < len(line) <= most:
        raise Refused(errors.INVALID, "%(field)s: use 1 to %(most)s characters.", field=field, most=most)
    return line


_ID_SIGNS: Final = 8
LONGEST: Final = 2_000
"""PostgreSQL's indexes take no more than some 2,700 bytes in a row."""


class Facet(StrEnum):
    """The kinds of facets; each stands before its value."""

    ORIGIN = "o"
    REACH = "h"
    COUNTRY = "c"
    LABEL = "l"
    FORM = "f"
    SIGN = "s"


PHONE: Final = "phone"
EMAIL: Final = "email"
LABELLED: Final = "labelled"
CONSENT: Final = "consent"
TWIN: Final = "twin"
PHONES: Final = (Field.PHONE, Field.WHATSAPP)


def facet_word(facet: Facet, value: str) -> str:
    """Return a facet as one word, such as ``o:chat`` or ``l:4d1184e1``."""
    return f"{facet.value}:{value[-_ID_SIGNS:] if facet in (Facet.LABEL, Facet.FORM) else value}"


TWIN_WORD: Final = facet_word(Facet.SIGN, TWIN)
"""The mark of who shares a contact value: of all words it is the last in order."""


def join_words(words: Iterable[str]) -> str:
    """Return the facet words of a lead, sorted, each between two spaces."""
    text = " ".join(sorted(set(words)))
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition(" ")[0]
    return f" {text} "


def facets_of_new(signals: Sequence[Signal]) -> str:
    """Return the facets of a new lead after these signals, of which the first makes it."""
    words = {facet_word(Facet.ORIGIN, signals[0].origin.value)}
    for signal in signals:
        if signal.form:
            form_id, _, _, has_agreed = signal.form
            words.add(facet_word(Facet.FORM, form_id))
            words |= {facet_word(Facet.SIGN, CONSENT)} if has_agreed else set()
        if signal.contacts:
            words.add(facet_word(Facet.ORIGIN, signal.origin.value))
        for match in signal.contacts:
            if match.field in PHONES or match.field is Field.EMAIL:
                words.add(facet_word(Facet.REACH, PHONE if match.field in PHONES else EMAIL))
            if (country := phone_country(match.value)) is not None:
                words.add(facet_word(Facet.COUNTRY, country))
    return join_words(words)


_MOBILE: Final = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE)


@dataclass(frozen=True, slots=True)
class ContactLinks:
    """A link that calls or mails, and one that opens WhatsApp; "" where there is none."""

    href: str = ""
    whatsapp: str = ""


def reach_of(field: Field, value: str) -> ContactLinks:
    """Return the links of a contact detail; a phone has WhatsApp only if it may be a mobile one."""
    if field is Field.EMAIL:
        return ContactLinks(f"mailto:{quote(value, safe='@')}")
    if field not in (Field.PHONE, Field.WHATSAPP):
        return ContactLinks()
    digits = value.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return ContactLinks()
    writes = field is Field.WHATSAPP
    with suppress(phonenumbers.NumberParseException):
        writes = writes or phonenumbers.number_type(phonenumbers.parse(value, None)) in _MOBILE
    return ContactLinks(f"tel:+{digits}", f"https://wa.me/{digits}" if writes else "")


LEAST_DIGITS: Final = 7
"""A number with fewer digits is taken for no phone number."""
MOST_ERASED: Final = 1_000
"""Leads of one act."""


def tells_of(text: str, contacts: Collection[str], names: Collection[str] = ()) -> bool:
    """Report whether a text holds one of the contact values, or is one of the names.

    A phone number counts with or without its country code and however it is grouped. A name alone must be the
    whole text: many people are called Maria.
    """
    plain = " ".join(text.casefold().split())
    if not plain:
        return False
    digits = _digits(plain)
    for contact in contacts:
        value = contact.casefold()
        if plain == value or ("@" in value and value in plain):
            return True
        own = _digits(value)
        is_number = min(len(own), len(digits)) >= LEAST_DIGITS and "@" not in plain + value
        if is_number and (own in digits or own.endswith(digits)):
            return True
    return any(plain == name.casefold() for name in names)


def without_person(
    rows: Sequence[tuple[str, ...]],
    numbers: Collection[int],
    contacts: Collection[str],
    own: Sequence[int] = (),
) -> tuple[tuple[str, ...], ...]:
    """Return the rows of a file with those of a person emptied, by numbers or from 1."""
    return tuple(
        () if row and (number in numbers or any(tells_of(cell, contacts) for cell in row)) else row
        for number, row in zip(own or range(1, len(rows) + 1), rows, strict=True)
    )


def _digits(text: str) -> str:
    return "".join(str(int(letter)) for letter in text if letter.isdecimal())


ENOUGH: Final = 20
"""So many good and so many bad leads there must be before any is scored."""
_LEAST: Final = 0.1
"""A sign that moves the log-odds by less is no reason."""
_MOST: Final = 3


class ScoreBand(StrEnum):
    """Scores in three parts, as the filter names them."""

    HIGH = "high"
    MIDDLE = "middle"
    LOW = "low"


BANDS: Final[Mapping[ScoreBand, tuple[int, int]]] = {
    ScoreBand.HIGH: (70, 100),
    ScoreBand.MIDDLE: (40, 69),
    ScoreBand.LOW: (0, 39),
}
"""The least and the greatest score of each band."""
REASONS: Final = {
    "o": N_("Source of the lead"),
    "h": N_("Kinds of contact details"),
    "c": N_("Country of the phone"),
    "f": N_("The form"),
    "s": N_("Consent"),
    "a": N_("The ad"),
    "g": N_("The ad group"),
    "p": N_("Channel account"),
    "v": N_("Click or view of the ad"),
    "w": N_("Time of arrival"),
    "d": N_("Time since the ad"),
    "t": N_("Content of the chat"),
}
"""What a sign is, by the letter before its value."""


def is_enough(outcomes: Iterable[bool]) -> bool:
    """Report whether there are enough good and enough other leads to learn from."""
    outcome_list = list(outcomes)
    good = sum(outcome_list)
    return min(good, len(outcome_list) - good) >= ENOUGH


def choose_reasons(letters: Sequence[str], parts: Sequence[float], words: Iterable[str]) -> tuple[str, ...]:
    """Return the signs that speak most for or against a lead, strongest first: "+" or "-" and a word.

    Columns of one letter count together, also by what a lead does not have: no phone, say. ``parts`` are what
    each column adds to the log-odds of this lead; of its ``words`` one stands behind its letter.
    """
    of_letter: dict[str, float] = {}
    for letter, part in zip(letters, parts, strict=True):
        of_letter[letter] = of_letter.get(letter, 0.0) + part
    named = {word[:1]: word for word in sorted(words, reverse=True)}
    strongest = sorted(of_letter, key=lambda letter: (-abs(of_letter[letter]), letter))[:_MOST]
    return tuple(
        ("+" if of_letter[letter] > 0.0 else "-") + named.get(letter, f"{letter}:")
        for letter in strongest
        if abs(of_letter[letter]) >= _LEAST
    )


def explain_reasons(reasons: Sequence[str]) -> list[tuple[bool, str]]:
    """Return the text of each reason, and whether it speaks for a lead."""
    return [(reason[0] == "+", REASONS[reason[1]]) for reason in reasons if reason[1:2] in REASONS]


ME: Final = "me"
NOBODY: Final = "none"
TEXT_LIMIT: Final = 200
MOST_VALUES: Final = 50
"""Values of one word that a filter may have."""
MOST_IN_ALL: Final = 80
"""Values of all words together: each is a part of the search, and a chip whose address holds the others."""
SORTS: Final = ("name", "status", "score", "created", "last_activity")
COLUMNS: Final = (
    "contact", "status", "score", "source", "labels", "owner", "ad", "crm", "created", "last_activity",
)  # fmt: skip
"""The columns after the name, which is always there, in their order."""
USUAL_COLUMNS: Final = ("contact", "status", "source", "owner", "ad", "created", "last_activity")
USUAL_SORT: Final = "-created"
FACETED: Final = frozenset({"origins", "labels", "countries", "has", "forms", "consents", "twins"})
BESIDE_FACETS: Final = frozenset({"statuses", "owners"})
"""Parts of a filter that facets answer, and those that a column of the same index does."""
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Has(StrEnum):
    """Contact details that a lead has or lacks."""

    PHONE = "phone"
    EMAIL = "email"
    NO_PHONE = "no_phone"
    NO_EMAIL = "no_email"


class ChatState(StrEnum):
    """State of a lead's chat."""

    UNREAD = "unread"
    WAITING = "waiting"


class InCrm(StrEnum):
    """State of a lead in linked CRMs."""

    DUE = "due"
    SENT = "sent"
    VERIFIED = "verified"
    DEAD = "dead"


class Agreed(StrEnum):
    """Consent of a person to a form's purposes."""

    GIVEN = "given"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LeadFilter:
    """Filter of leads; an empty part matches all."""

    text: str = ""
    statuses: tuple[LeadStatus, ...] = ()
    origins: tuple[Origin, ...] = ()
    owners: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    campaigns: tuple[int, ...] = ()
    ad_groups: tuple[int, ...] = ()
    ads: tuple[int, ...] = ()
    countries: tuple[str, ...] = ()
    has: tuple[Has, ...] = ()
    forms: tuple[str, ...] = ()
    consents: tuple[Agreed, ...] = ()
    threads: tuple[ChatState, ...] = ()
    in_crm: tuple[InCrm, ...] = ()
    scores: tuple[ScoreBand, ...] = ()
    since: date | None = None
    until: date | None = None
    twins: bool = False
    any_of: bool = False
    channel_account_id: str | None = None

    @property
    def used_parts(self) -> set[str]:
        return {part.name for part in fields(self) if part.name != "any_of" and getattr(self, part.name)}


@dataclass(frozen=True, slots=True)
class ListLayout:
    """Layout of the list: order, columns, and density."""

    sort: str = USUAL_SORT
    columns: tuple[str, ...] = USUAL_COLUMNS
    dense: bool = False


type Pairs = list[tuple[str, str]]


def _one_of[E: StrEnum](kind: type[E]) -> Callable[[str], E | None]:
    members = {member.value: member for member in kind}
    return members.get


def _id_or(*words: str) -> Callable[[str], str | None]:
    """Return a reader of ids and of some words."""
    return lambda text: text if text in words or _ID.fullmatch(text) else None


_LISTS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "status": ("statuses", _one_of(LeadStatus)),
    "owner": ("owners", _id_or(ME, NOBODY)),
    "label": ("labels", _id_or(NOBODY)),
    "source": ("origins", _one_of(Origin)),
    "campaign": ("campaigns", read_number),
    "ad_group": ("ad_groups", read_number),
    "ad": ("ads", read_number),
    "country": ("countries", {region: region for region in phonenumbers.SUPPORTED_REGIONS}.get),
    "has": ("has", _one_of(Has)),
    "form": ("forms", _id_or()),
    "consent": ("consents", _one_of(Agreed)),
    "thread": ("threads", _one_of(ChatState)),
    "crm": ("in_crm", _one_of(InCrm)),
    "score": ("scores", _one_of(ScoreBand)),
}
"""The words that may come several times: the part of the filter that they fill, and their reader."""
_DAYS: Final = {"from": "since", "to": "until"}
_FLAGS: Final = {"twins": "twins", "any": "any_of"}


def read_filter(pairs: Iterable[tuple[str, str]]) -> LeadFilter:
    """Read a filter out of the pairs of an address, without unknown words. Raises Refused: INVALID."""
    lists: dict[str, list[Any]] = {attribute: [] for attribute, _ in _LISTS.values()}
    single: dict[str, Any] = {}
    for word, text in pairs:
        if word in _LISTS:
            attribute, read = _LISTS[word]
            value = read(text)
            if value is not None and value not in lists[attribute]:
                lists[attribute].append(value)
                # Checked with each value, so that nothing is done for those that are too many.
                if len(lists[_LISTS[word][0]]) > MOST_VALUES:
                    raise Refused(
                        errors.INVALID,
                        "%(word)s: choose %(most)s values at most.",
                        word=word,
                        most=MOST_VALUES,
                    )
                if sum(map(len, lists.values())) > MOST_IN_ALL:
                    raise Refused(
                        errors.INVALID,
                        "The filter has more than %(most)s values. Remove some.",
                        most=MOST_IN_ALL,
                    )
        elif word in _DAYS:
            check_year(word, text)
            single[_DAYS[word]] = day_of(text)
        elif word in _FLAGS:
            single[_FLAGS[word]] = text == "1"
        elif word == "q":
            single["text"] = read_text(text)
    return LeadFilter(**single | {name: tuple(values) for name, values in lists.items()})


def read_text(text: str) -> str:
    """Return a search text: no longer than the limit, and nothing in it that a database could not store."""
    return text.replace("\0", "").encode("utf-8", "replace").decode().strip()[:TEXT_LIMIT].strip()


def write_filter(lead_filter: LeadFilter) -> Pairs:
    """Return the pairs that ``read_filter`` reads as this filter, in one fixed order."""
    pairs: Pairs = [("q", lead_filter.text)] if lead_filter.text else []
    for word, (attribute, _) in _LISTS.items():
        pairs += [(word, str(value)) for value in getattr(lead_filter, attribute)]
    for word, attribute in _DAYS.items():
        day: date | None = getattr(lead_filter, attribute)
        pairs += [(word, day.isoformat())] if day else []
    return pairs + [(word, "1") for word, attribute in _FLAGS.items() if getattr(lead_filter, attribute)]


def read_look(pairs: Iterable[tuple[str, str]]) -> ListLayout:
    """Read order, columns and density out of the pairs of an address."""
    look = ListLayout()
    columns: list[str] = []
    for word, text in pairs:
        if word == "sort" and text.removeprefix("-") in SORTS and not text.startswith("--"):
            look = replace(look, sort=text)
        elif word == "dense":
            look = replace(look, dense=text == "1")
        elif word == "column" and text in COLUMNS:
            columns.append(text)
    return replace(look, columns=known_columns(columns))


def known_columns(chosen: Iterable[str]) -> tuple[str, ...]:
    """Return the chosen columns in their order; the usual ones when none of them exists (any more)."""
    chosen_columns = set(chosen)
    return tuple(column for column in COLUMNS if column in chosen_columns) or USUAL_COLUMNS


def write_look(look: ListLayout) -> Pairs:
    """Return the pairs that ``read_look`` reads as this look, without usual values."""
    pairs: Pairs = [("sort", look.sort)] if look.sort != USUAL_SORT else []
    if look.columns != USUAL_COLUMNS:
        pairs += [("column", column) for column in look.columns]
    return pairs + ([("dense", "1")] if look.dense else [])


def for_member(lead_filter: LeadFilter, member_id: str) -> LeadFilter:
    """Return the filter as one member means it: "me" is that member."""
    owners = tuple(dict.fromkeys(member_id if owner == ME else owner for owner in lead_filter.owners))
    return replace(lead_filter, owners=owners)
