"""The detector: one linear pass asks what a text may hold, then only the fields that may be there read it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import itemgetter

from contatto.capture.fields.emails import find_emails
from contatto.capture.fields.folding import Find, Folded, fold
from contatto.capture.fields.handles import find_handles
from contatto.capture.fields.ids import is_shared
from contatto.capture.fields.links import find_links
from contatto.capture.fields.names import find_name
from contatto.capture.fields.numbers import country_code
from contatto.capture.fields.phones import find_phones
from contatto.capture.fields.prefilter import Hint, hints, hints_of_all
from contatto.capture.fields.spelled import find_spelled_emails
from contatto.capture.model import ContactMatch, NameMatch

#: Longer texts are read at both ends only: this many characters from each.
LONGEST_END = 8_192
#: More contacts than this in one message are a list and not a person's details; the rest is left.
MOST_MATCHES = 100
_HANDLE_FORMS = frozenset({Hint.SHAPE, Hint.STATED})
_NUMBERS_ONLY = frozenset({Hint.DIGITS, Hint.SHAPE})


def detect_contacts(text: str, country: str) -> list[ContactMatch]:
    """The contact details of one message, in the order of the text.

    Pure and safe to call from many threads; the time is linear in the length. Of a text longer than
    twice `LONGEST_END` characters the middle is not read, and at most `MOST_MATCHES` contacts come back.

    Args:
        text: the message, any Unicode, lone surrogates and control characters included.
        country: ISO 3166 code of the country for national numbers, such as "ID"; may be empty.
    """
    if len(text) > 2 * LONGEST_END:
        return _detect_long(text, country)
    hinted = hints(text)
    return _detect(text, country, hinted) if hinted else []


def detect_contacts_batch(texts: Sequence[tuple[str, str]]) -> list[list[ContactMatch]]:
    """The contact details of many messages, each with its country, in their order."""
    matches: list[list[ContactMatch]] = [[] for _ in texts]
    for hinted, places in hints_of_all([text for text, _ in texts]).items():
        for place in places:
            text, country = texts[place]
            is_long = len(text) > 2 * LONGEST_END
            matches[place] = _detect_long(text, country) if is_long else _detect(text, country, hinted)
    return matches


def detect_name(text: str) -> NameMatch | None:
    """The name that somebody states in a message ("my name is …"); an attribute, never a lead by itself."""
    folded = fold(text[:LONGEST_END])
    name = find_name(folded)
    if name is None:
        return None
    start, end = folded.span(name.start, name.end)
    return NameMatch(name.value, start, end, text[start:end], name.rule)


def has_number_plan(country: str) -> bool:
    """Report whether national numbers of a country can be read: an upper-case ISO 3166 code."""
    return bool(country_code(country))


def warm(countries: Iterable[str] | None = None) -> None:
    """Read all lexicons and the number plans of some countries, or of all markets, ahead of the messages.

    A number plan takes a megabyte, so a server reads those of its own channel accounts.
    """
    detect_name("my name is Warm")
    for country in MARKETS if countries is None else countries:
        for text in _WARMING:
            detect_contacts(text, country)


def _detect(text: str, country: str, hinted: frozenset[Hint]) -> list[ContactMatch]:
    folded = Folded(text, text, text.lower())
    if Hint.FOLD in hinted:
        folded = fold(text)
        hinted = hints(folded.text)
    if hinted <= _NUMBERS_ONLY:
        finds = find_phones(folded, country) if hinted else []
    else:
        finds = _finds(folded, country, hinted)
    return [folded.match(find) for find in finds[:MOST_MATCHES]]


def _finds(rest: Folded, country: str, hinted: frozenset[Hint]) -> list[Find]:
    """Each field reads what the ones before it left: links, addresses, handles, numbers."""
    finds: list[Find] = []
    if Hint.LINK in hinted:
        links = find_links(rest)
        finds += [link.find for link in links if link.find is not None]
        rest = rest.without((link.start, link.end) for link in links)
    for hint, find_emails_of in ((Hint.AT, find_emails), (Hint.SPELLED, find_spelled_emails)):
        if hint in hinted:
            emails = find_emails_of(rest)
            finds += emails
            rest = rest.without((find.start, find.end) for find in emails)
    if Hint.CUE in hinted and not hinted.isdisjoint(_HANDLE_FORMS):
        handles = find_handles(rest, country)
        finds += handles
        if handles and Hint.DIGITS in hinted:
            rest = rest.without((find.start, find.end) for find in handles if not is_shared(find))
    if Hint.DIGITS in hinted:
        finds += find_phones(rest, country)
    if len(finds) > 1:
        finds.sort(key=itemgetter(2))
    return finds


def _detect_long(text: str, country: str) -> list[ContactMatch]:
    """Both ends of a very long text; a match at the cut is left, since half of it may be missing."""
    cut = len(text) - LONGEST_END
    head = detect_contacts(text[:LONGEST_END], country)
    tail = detect_contacts(text[cut:], country)
    matches = [match for match in head if match.end < LONGEST_END]
    for match in tail:
        if match.start > 0:
            start, end = match.start + cut, match.end + cut
            matches.append(replace(match, start=start, end=end))
    return matches[:MOST_MATCHES]


#: The 47 markets of auto-capture.
MARKETS = (
    *("AE", "AR", "AU", "BO", "BR", "BZ", "CL", "CO", "CR", "DO", "DZ", "EC", "EG", "GT", "GY", "HN"),
    *("ID", "IL", "IQ", "JO", "JP", "KE", "KH", "KW", "LB", "LK", "MA", "MX", "MY", "NG", "NI", "NZ"),
    *("OM", "PA", "PE", "PH", "PK", "PY", "QA", "SA", "SG", "SV", "TH", "UY", "VE", "VN", "ZA"),
)
_WARMING = (
    "call 0812 345 6789 or (02) 2345-6789, order 12345678",
    "whatsapp 12345678 or 912345678 or 5512345678 or +1 809 555 0143",
    "ig warm_up1 or warm at gmail dot com or warm@example.com or m.me/warm.up",
)
