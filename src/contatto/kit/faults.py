"""Refusals of several fields of one form, gathered so that all of them are told at once."""

import re
from collections.abc import Callable
from typing import Final

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import Translator
from contatto.kit.typed_numbers import Leap

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
