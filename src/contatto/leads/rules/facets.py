"""The facets of a lead: what hangs on it and can be filtered by, as short words in one text of its row.

An index holds that text, so one pass along it answers any filter, however its parts are joined. An id is
shortened to its last eight signs, which are chance. See decision 0024.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from contatto.capture.model import Field
from contatto.leads.model.leads import Signal
from contatto.leads.rules.records import phone_country

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
    """A facet as one word, such as ``o:chat`` or ``l:4d1184e1``."""
    return f"{facet.value}:{value[-_ID_SIGNS:] if facet in (Facet.LABEL, Facet.FORM) else value}"


TWIN_WORD: Final = facet_word(Facet.SIGN, TWIN)
"""The mark of who shares a contact value: of all words it is the last in order."""


def join_words(words: Iterable[str]) -> str:
    """The words as a lead keeps them: sorted, each between two spaces; of too many the last are left out."""
    text = " ".join(sorted(set(words)))
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition(" ")[0]
    return f" {text} "


def facets_of_new(signals: Sequence[Signal]) -> str:
    """The facets of a lead that has nothing but what these signals bring, of which the first makes it."""
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
