"""Numbers typed into forms, and refusals of several fields at once."""

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.numbers import (
    NumberFormatError,
    format_decimal,
    get_decimal_symbol,
    get_group_symbol,
    parse_decimal,
)

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_, Translator
from contatto.kit.numbers import decimal_places, to_micros, to_units

LONGEST: Final = 40
"""Characters of a number; whoever types more has pasted something else."""
LEAP: Final = 10
"""So many times as much, or as little: most such changes are slips of the comma, so they are asked about."""
_MARKS: Final = dict.fromkeys((0x200E, 0x200F, 0x061C))
"""Marks of direction, which some keyboards type along."""
_WIDE: Final = str.maketrans("．，−－", ".,--")
_SPACES: Final = "[ \u00a0\u2009\u202f'’]"
_SPACED: Final = re.compile(rf"-?\d{{1,3}}(?:({_SPACES})\d{{3}})(?:\1\d{{3}})*(?!\d).*")
_EXAMPLE: Final = Decimal("12.50")


_GROWS: Final = N_(
    "%(field)s: this raises the value from %(before)s to %(after)s, more than ten times. Is this correct?"
)
_SHRINKS: Final = N_(
    "%(field)s: this lowers the value from %(before)s to %(after)s, to less than a tenth. Is this correct?"
)


@dataclass(frozen=True, slots=True)
class Typist:
    """Who typed: the language of their numbers, and the leaps that they have confirmed."""

    words: Translator
    sure: Collection[str] = ()


class Leap(Refused):
    """An amount that would change more than tenfold, and was not confirmed.

    ``key`` is what a form sends as ``sure`` to confirm this very change.
    """

    def __init__(self, field: str, before: str, after: str, key: str, *, is_more: bool) -> None:
        says = _GROWS if is_more else _SHRINKS
        super().__init__(errors.INVALID, says, field=field, before=before, after=after)
        self.field, self.key = field, key


@cache
def _locale(lang: str) -> Locale:
    """Return how a language writes; English for one that nobody knows."""
    try:
        return Locale.parse(lang, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale("en")


@cache
def _symbols(lang: str) -> tuple[str, str]:
    """Return how a language writes its decimal point, and what it sets thousands apart with."""
    return get_decimal_symbol(_locale(lang)), get_group_symbol(_locale(lang))


def read_decimal(field: str, text: str, lang: str, places: int) -> Decimal | None:
    """The number that a text means to who writes in this language; None for an empty one.

    Digits of any script are digits. A point or comma followed by three digits is refused where the language
    takes it for the decimal one and fewer decimals are asked for: to others it sets thousands apart.

    Args:
        field: what the refusal names.
        text: as it was typed.
        lang: one of our languages.
        places: decimals that the number may have.

    Raises:
        Refused: INVALID; it says how the number could be read, or how one is written.
    """
    typed = _plain(text, lang)
    if not typed:
        return None
    decimal, group = _symbols(lang)
    allowed = re.escape(decimal + group)
    if len(typed) > LONGEST or not re.fullmatch(rf"-?[\d{allowed}]*\d", typed, re.ASCII):
        raise _no_number(field, lang, places)
    try:
        number = parse_decimal(typed, _locale(lang), strict=True)
    except NumberFormatError as error:
        readings = error.suggestions or []
        if len(readings) == 2 and not (decimal in typed and group in typed):
            raise _two_ways(field, *readings) from error
        raise _no_number(field, lang, places, readings[-1] if readings else "") from error
    decimals = len(typed.partition(decimal)[2])
    if decimals > places:
        if decimals == 3:
            other = Decimal(typed.replace(group, "").replace(decimal, ""))
            raise _two_ways(field, typed, _grouped(other, lang))
        if places:
            raise Refused(
                errors.INVALID, "%(field)s: use at most %(most)s decimals.", field=field, most=places
            )
        raise _no_number(field, lang, places)
    return number


def read_whole(field: str, text: str, lang: str) -> int | None:
    """A whole number as it was typed; None for an empty text.

    Raises:
        Refused: INVALID.
    """
    if text.isascii() and text.isdigit() and len(text) <= LONGEST:
        return int(text)  # in every language the same
    number = read_decimal(field, text, lang, 0)
    return None if number is None else int(number)


def read_amount(field: str, text: str, currency: str, lang: str) -> int | None:
    """An amount of a currency in micros, as it was typed; None for an empty text.

    Raises:
        Refused: INVALID.
    """
    number = read_decimal(field, text, lang, decimal_places(currency))
    try:
        return None if number is None else to_micros(number)
    except ValueError as error:
        raise Refused(errors.INVALID, "%(field)s: the value is too large.", field=field) from error


def typed_number(value: Decimal | int, lang: str, places: int = 0) -> str:
    """A number as it stands in a field, for ``read_decimal`` to read again: without thousands set apart."""
    pattern = "0." + "0" * places if places else "0"
    return str(format_decimal(value, pattern, _locale(lang), decimal_quantization=True))


def typed_amount(amount_micros: int | None, currency: str, lang: str) -> str:
    """An amount as it stands in a field; ``12`` stands without decimals, ``12.5`` as ``12.50``."""
    if amount_micros is None:
        return ""
    units = to_units(amount_micros)
    is_whole = units == units.to_integral_value()
    return typed_number(units, lang, 0 if is_whole else decimal_places(currency))


def is_leap(before: int | None, after: int | None) -> bool:
    """Return whether an amount becomes more than ten times as much, or less than a tenth."""
    if not before or not after:
        return False
    return max(before, after) > LEAP * min(before, after)


def check_leap(
    field: str, before: int | None, after: int | None, currency: str, typist: Typist
) -> int | None:
    """An amount after a change, in micros, if it is no leap or a confirmed one.

    Raises:
        Leap: it is neither.
    """
    key = f"{field}={after}"
    if before and after and is_leap(before, after) and key not in typist.sure:
        money = typist.words.money
        raise Leap(field, money(before, currency), money(after, currency), key, is_more=after > before)
    return after


def _plain(text: str, lang: str) -> str:
    """A text with the digits 0 to 9, this language's own signs for thousands and decimals, and no marks."""
    decimal, group = _symbols(lang)
    text = text.strip().translate(_MARKS).translate(_WIDE)
    text = "".join(str(unicodedata.decimal(sign, sign)) for sign in text)
    text = text.replace("\u066b", decimal).replace("\u066c", group)  # the signs of Arabic-Indic digits
    spaced = _SPACED.fullmatch(text)
    return text.replace(spaced[1], group) if spaced and group not in text else text


def _grouped(number: Decimal, lang: str) -> str:
    return str(format_decimal(number, locale=_locale(lang), decimal_quantization=False))


def _two_ways(field: str, one: str, other: str) -> Refused:
    return Refused(
        errors.INVALID,
        "%(field)s: this can be read as %(one)s or as %(other)s. Write it without a thousands separator.",
        field=field,
        one=one,
        other=other,
    )


def _no_number(field: str, lang: str, places: int, example: str = "") -> Refused:
    if not places:
        return Refused(errors.INVALID, "%(field)s: enter a whole number.", field=field)
    example = example or typed_number(_EXAMPLE, lang, min(places, 2))
    return Refused(
        errors.INVALID, "%(field)s: enter a number, such as %(example)s.", field=field, example=example
    )


_FIELD: Final = re.compile(r"[a-z][a-z0-9_.:]*", re.ASCII)
_OF_FIELDS: Final = frozenset({errors.INVALID, errors.NOT_ELIGIBLE, errors.CAPTURE_OFF})
"""What is wrong with a field; any other refusal ends the work at once."""


class Faults:
    """What was wrong so far."""

    def __init__(self) -> None:
        self.found: list[Refused] = []

    def read[T, U](self, work: Callable[[], T], instead: U) -> T | U:
        """What the work gives; if it refuses a field, that is noted, and ``instead`` stands in for it."""
        try:
            return work()
        except Refused as refused:
            self.note(refused)
            return instead

    def finish[T](self, work: Callable[[], T]) -> T:
        """What the last work gives, if nothing was wrong before it and nothing is wrong with it.

        Raises:
            Refused: the first mistake, with the others.
        """
        try:
            made = work()
        except Refused as refused:
            self.note(refused)
            self.check()
            raise
        self.check()
        return made

    def note(self, refused: Refused) -> None:
        """Gather a refusal of fields.

        Raises:
            Refused: that one, if it is of no field.
        """
        if refused.code not in _OF_FIELDS:
            raise refused
        self.found += [refused, *refused.others]
        refused.others = ()

    def check(self) -> None:
        """Go on if nothing was wrong.

        Raises:
            Refused: the first mistake, which has the others. What has to be typed anew comes first, then what
                is asked about, then the rest.
        """
        if self.found:
            first, *others = sorted(self.found, key=_rank)
            first.others = tuple(others)
            raise first


def _rank(refused: Refused) -> tuple[bool, bool]:
    return refused.code is not errors.INVALID, isinstance(refused, Leap)


def split_faults(refused: Refused, words: Translator) -> dict[str, str]:
    """Return what each refusal of a form says, by its field; the first one of a field counts."""
    texts: dict[str, str] = {}
    for fault in (refused, *refused.others):
        field, says = split_fault(fault, words)
        texts.setdefault(field, says)
    return texts


def split_fault(refused: Refused, words: Translator) -> tuple[str, str]:
    """The field that a refusal names, or an empty text, and what it says to a person, without that name."""
    detail = refused.detail_in(words)
    field, colon, says = detail.partition(": ")
    if not colon or not _FIELD.fullmatch(field):
        return "", detail
    return field, says[:1].upper() + says[1:]
