"""Numbers typed into forms, and refusals of several fields at once."""

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
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
from contatto.kit.i18n import N_
from contatto.kit.languages import Translator
from contatto.kit.values import decimal_places, to_micros, to_units

LONGEST: Final = 40
"""Maximum length of a typed number; longer texts were pasted by mistake."""
LEAP: Final = 10
"""A change by this factor needs confirmation, as most are typos of the decimal point."""
_MARKS: Final = dict.fromkeys((0x200E, 0x200F, 0x061C))
"""Marks of direction, which some keyboards add."""
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
    """Author of a form: language of the numbers, and keys of confirmed leaps."""

    words: Translator
    sure: Collection[str] = ()


class Leap(Refused):
    """Amount that would change more than tenfold, without confirmation.

    A form sends ``key`` as ``sure`` to confirm this change.
    """

    def __init__(self, field: str, before: str, after: str, key: str, *, is_more: bool) -> None:
        says = _GROWS if is_more else _SHRINKS
        super().__init__(errors.INVALID, says, field=field, before=before, after=after)
        self.field, self.key = field, key


@cache
def _locale(lang: str) -> Locale:
    """Return the locale of a language; English for an unknown one."""
    try:
        return Locale.parse(lang, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale("en")


def read_decimal(field: str, text: str, lang: str, places: int) -> Decimal | None:
    """Parse a number as its language writes it; None for an empty text.

    Digits of any script count. A separator followed by three digits is refused where it is this language's
    decimal point and fewer decimals are allowed: other languages separate thousands with it.

    Raises INVALID for ``field``, with possible readings or an example; ``places`` is the most decimals.
    """
    locale = _locale(lang)
    decimal, group = get_decimal_symbol(locale), get_group_symbol(locale)
    # Digits 0 to 9 and this language's separators, without marks.
    typed = text.strip().translate(_MARKS).translate(_WIDE)
    typed = "".join(str(unicodedata.decimal(sign, sign)) for sign in typed)
    typed = typed.replace("\u066b", decimal).replace("\u066c", group)  # separators of Arabic-Indic digits
    spaced = _SPACED.fullmatch(typed)
    if spaced and group not in typed:
        typed = typed.replace(spaced[1], group)
    if not typed:
        return None
    allowed = re.escape(decimal + group)
    if len(typed) > LONGEST or not re.fullmatch(rf"-?[\d{allowed}]*\d", typed, re.ASCII):
        raise _no_number(field, lang, places)
    try:
        number = parse_decimal(typed, locale, strict=True)
    except NumberFormatError as error:
        readings = error.suggestions or []
        if len(readings) == 2 and not (decimal in typed and group in typed):
            raise _two_ways(field, *readings) from error
        raise _no_number(field, lang, places, readings[-1] if readings else "") from error
    decimals = len(typed.partition(decimal)[2])
    if decimals > places:
        if decimals == 3:
            whole = Decimal(typed.replace(group, "").replace(decimal, ""))
            grouped = format_decimal(whole, locale=locale, decimal_quantization=False)
            raise _two_ways(field, typed, str(grouped))
        if places:
            raise Refused(
                errors.INVALID, "%(field)s: use at most %(most)s decimals.", field=field, most=places
            )
        raise _no_number(field, lang, places)
    return number


def read_whole(field: str, text: str, lang: str) -> int | None:
    """Parse a whole number; None for an empty text. Raises INVALID."""
    if text.isascii() and text.isdigit() and len(text) <= LONGEST:
        return int(text)  # in every language the same
    number = read_decimal(field, text, lang, 0)
    return None if number is None else int(number)


def read_amount(field: str, text: str, currency: str, lang: str) -> int | None:
    """Parse an amount of a currency into micros; None for an empty text. Raises INVALID."""
    number = read_decimal(field, text, lang, decimal_places(currency))
    try:
        return None if number is None else to_micros(number)
    except ValueError as error:
        raise Refused(errors.INVALID, "%(field)s: the value is too large.", field=field) from error


def typed_number(value: Decimal | int, lang: str, places: int = 0) -> str:
    """Format a number for a field, without thousands separators, as ``read_decimal`` reads it."""
    pattern = "0." + "0" * places if places else "0"
    return str(format_decimal(value, pattern, _locale(lang), decimal_quantization=True))


def typed_amount(amount_micros: int | None, currency: str, lang: str) -> str:
    """Format an amount for a field: ``12`` without decimals, ``12.5`` as ``12.50``."""
    if amount_micros is None:
        return ""
    units = to_units(amount_micros)
    is_whole = units == units.to_integral_value()
    return typed_number(units, lang, 0 if is_whole else decimal_places(currency))


def check_leap(
    field: str, before: int | None, after: int | None, currency: str, typist: Typist
) -> int | None:
    """Return a changed amount in micros; raises Leap if the change needs confirmation."""
    key = f"{field}={after}"
    if not before or not after or key in typist.sure:
        return after
    if max(before, after) > LEAP * min(before, after):
        money = typist.words.money
        raise Leap(field, money(before, currency), money(after, currency), key, is_more=after > before)
    return after


def _two_ways(field: str, first: str, second: str) -> Refused:
    return Refused(
        errors.INVALID,
        "%(field)s: this can be read as %(one)s or as %(other)s. Write it without a thousands separator.",
        field=field,
        one=first,
        other=second,
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
"""Codes that concern a field; `Faults` collects them, and raises any other refusal at once."""


@dataclass(eq=False)
class Faults:
    """Collector of the refused fields of a form, to show them all at once."""

    found: list[Refused] = field(default_factory=list)

    def read[T, U](self, work: Callable[[], T], instead: U) -> T | U:
        """Return the result of the work; on a refused field record the fault, and return ``instead``."""
        try:
            return work()
        except Refused as refused:
            self.note(refused)
            return instead

    def finish[T](self, work: Callable[[], T]) -> T:
        """Return the result of the last work, or raise the faults that were recorded."""
        try:
            result = work()
        except Refused as refused:
            self.note(refused)
            self.check()
            raise
        self.check()
        return result

    def note(self, refused: Refused) -> None:
        """Record a refusal of fields; raises any other refusal."""
        if refused.code not in _OF_FIELDS:
            raise refused
        self.found += [refused, *refused.others]
        refused.others = ()

    def check(self) -> None:
        """Raise the first fault with the others: values to type again, confirmations, then the rest."""
        if self.found:
            first, *further = sorted(
                self.found, key=lambda fault: (fault.code is not errors.INVALID, isinstance(fault, Leap))
            )
            first.others = tuple(further)
            raise first


def split_faults(refused: Refused, words: Translator) -> dict[str, str]:
    """Return the texts of a form's refusals by field; the first one of a field counts."""
    texts: dict[str, str] = {}
    for fault in (refused, *refused.others):
        field, says = split_fault(fault, words)
        texts.setdefault(field, says)
    return texts


def split_fault(refused: Refused, words: Translator) -> tuple[str, str]:
    """Return the field of a refusal, or an empty text, and its text without that name."""
    detail = refused.said.in_language(words)
    field, colon, says = detail.partition(": ")
    if not colon or not _FIELD.fullmatch(field):
        return "", detail
    return field, says[:1].upper() + says[1:]
