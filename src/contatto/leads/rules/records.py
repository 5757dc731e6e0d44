"""Which details are new to a lead, which status may follow which, and what a search means."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from unicodedata import decimal, normalize

import phonenumbers

from contatto.capture.model import Field
from contatto.capture.rules import detect_contacts
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import LazyText
from contatto.leads.model.leads import STATUS_TEXTS, HistoryEntry, HistoryKind, Lead, LeadStatus, Signal

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
    {
        **{"\u00f8": "o", "\u0142": "l", "\u0111": "d", "\u00f0": "d", "\u0131": "i", "\u0127": "h"},
        **{"\u0167": "t", "\u014b": "n", "\u00e6": "ae", "\u0153": "oe", "\u00fe": "th", "\u0180": "b"},
        **{
            "\u0671": "\u0627",
            "\u0649": "\u064a",
            "\u06cc": "\u064a",
            "\u06d2": "\u064a",
            "\u0629": "\u0647",
        },
        **{
            "\u06a9": "\u0643",
            "\u06c1": "\u0647",
            "\u06be": "\u0647",
            "\u06d5": "\u0647",
            "\u2019": "'",
            "\u02bc": "'",
        },
    }
)
"""Letters that Unicode does not decompose, and Arabic ones that keyboards mix up, as their plain equals."""
_DETAILS: Final = re.compile(r"\S+@\S+|\+?\d(?:[\s().-]{0,2}\d){6,}")
"""What may be an address, or a number of seven digits and more."""


def list_moves(old: LeadStatus) -> list[LeadStatus]:
    """The statuses that may follow one, in their order."""
    return [status for status in LeadStatus if status in MOVES[old]]


def check_move(old: LeadStatus, new: LeadStatus) -> None:
    """Refuse a move that the table does not have.

    Raises:
        Refused: CONFLICT.
    """
    if new not in MOVES[old]:
        raise Refused(
            errors.CONFLICT,
            "A lead cannot change from %(old)s to %(new)s.",
            old=_status_text(old),
            new=_status_text(new),
        )


def check_seen(now: LeadStatus, seen: LeadStatus) -> None:
    """Refuse a change by somebody who had another status before their eyes.

    Raises:
        Refused: CONFLICT.
    """
    if now is not seen:
        raise Refused(
            errors.CONFLICT,
            "Somebody else changed this. The status is now %(now)s; you saw %(seen)s.",
            now=_status_text(now),
            seen=_status_text(seen),
        )


def status_step_to_undo(
    steps: Iterable[HistoryEntry], status: LeadStatus, now: datetime
) -> HistoryEntry | None:
    """The change that gave a lead its status, if it is the last one, was no undoing, and is not long ago."""
    changes = [step for step in steps if step.what in (HistoryKind.STATUS, HistoryKind.STATUS_UNDONE)]
    last = changes[-1] if changes else None
    if last is None or last.what is not HistoryKind.STATUS or now - last.at > UNDO_WITHIN:
        return None
    return last if last.detail.endswith(f"{ARROW}{status.value}") else None


def status_before(step: HistoryEntry) -> LeadStatus:
    """The status that a lead had before a change of it."""
    return LeadStatus(step.detail.partition(ARROW)[0])


def _status_text(status: LeadStatus) -> LazyText:
    return LazyText(STATUS_TEXTS[status])


def makes_lead(signal: Signal) -> bool:
    """Whether a signal makes a lead where there is none: contact details do, a name alone does not (R36)."""
    return bool(signal.contacts)


def better_name(current: str, signal: Signal) -> str:
    """A name that the person stated beats the profile's; a name that is there is not lost."""
    stated = _clean(signal.stated_name or "")
    return stated or current or _clean(signal.profile_name)


def after_signals(lead: Lead, signals: Iterable[Signal]) -> Lead:
    """A lead with the name and the last activity that these signals, in their order, leave it with."""
    name, updated_at = lead.name, lead.updated_at
    for signal in signals:
        name, updated_at = better_name(name, signal), max(signal.at, updated_at)
    if (name, updated_at) == (lead.name, lead.updated_at):
        return lead
    return replace(lead, name=name, updated_at=updated_at)


def person_label(name: str, person_id: str) -> str:
    """A person's name for people, or a short mark of the one who has none."""
    return name or f"Visitor {person_id[:_MARK]}"


def visitor_mark(text: str) -> str | None:
    """Return the beginning of a nameless person's id in a search such as "visitor 1a2b" or "1a2b".

    None means that the search is for something else. Words may be cut short and stand in any order.
    """
    words = fold_text(text).split()
    marks = [word for word in words if _MARK_PART.fullmatch(word)]
    others = [word for word in words if word not in marks]
    if len(marks) > 1 or not words:
        return None
    if any(len(word) < _LEAST_WORD or not "visitor".startswith(word) for word in others):
        return None
    return "".join(marks) if others or len(marks[0]) == _MARK else None


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
    """A name as it is sorted and searched by. It lies in clear, so the contact details in it are left out.

    People put their number into the name that a platform shows.
    """
    plain = fold_text(name)
    cleaned = _DETAILS.sub(" ", plain)
    return (plain if cleaned == plain and plain.isascii() else fold_text(cleaned)).strip()


def detail_key(field: Field, value: str) -> tuple[Field, str]:
    """What two spellings of one detail have in common.

    An address keeps the capitals that it was written with, but a phone writes ``Mei@`` where its owner means
    ``mei@``, and no mail service tells them apart. Source: RFC 5321, section 2.4.
    """
    return field, value.casefold() if field is Field.EMAIL else value


_PLAIN_NUMBER: Final = re.compile(r"\+[1-9][0-9]{7,14}")
_ONLY_REGION: Final = {
    str(code): regions[0]
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
    if len(regions) == 1
}
"""The countries that have their code to themselves: for most numbers nothing else need be looked at."""


def phone_country(value: str) -> str | None:
    """The country of an international phone number, or None for what is none."""
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
    """The spellings under which a searched contact value may be indexed.

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


def _clean(name: str) -> str:
    shown = name if name.isprintable() else "".join(letter for letter in name if letter.isprintable())
    return _spaced(shown).strip()[:NAME_LIMIT]


def _spaced(text: str) -> str:
    """A text with one space between words. Of all spaces one alone is printable: most names need no more."""
    return text if text.isprintable() and "  " not in text else _SPACES.sub(" ", text)
