"""Detector of contact details: one RE2 pass, then the field readers."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from enum import IntEnum
from functools import cache
from operator import itemgetter

from contatto.capture.fields.addresses import find_emails, find_handles, find_links, find_spelled_emails
from contatto.capture.fields.numbers import find_phones
from contatto.capture.fields.text import (
    FOLDABLE,
    LATIN,
    PLATFORMS,
    SHARED,
    Find,
    Folded,
    as_bytes,
    either,
    email_labels,
    find_name,
    fold,
    languages,
    linear_pattern,
    match_of,
    words,
)
from contatto.capture.model import CaptureSwitch, ContactMatch, MessageContacts

_BETWEEN = r"[ \t.()/_~\-\x{2010}-\x{2015}\x{2212}\x{30fc}\x{b7}\x{2022}]"
_LABEL = r"[a-z0-9][a-z0-9\-]*"
_MEMORY = 64 << 20


class Hint(IntEnum):
    """Possible content of a text; the value is also the number of its pattern, except for STATED."""

    FOLD = 0
    LINK = 1
    AT = 2
    SPELLED = 3
    CUE = 4
    """Name of a platform."""
    SHAPE = 5
    """Text in the form of a handle."""
    DIGITS = 6
    STATED = 7
    """Statement of a handle that looks like a word."""


_NOTHING: frozenset[Hint] = frozenset()


@cache
def _patterns() -> tuple[str, ...]:
    foldable = "".join(sign if sign == "-" else f"\\x{{{ord(sign):x}}}" for sign in FOLDABLE)
    platform_words = dict.fromkeys(word for platform in PLATFORMS for word in words("cues", platform))
    dots = linear_pattern([word for word in words("email", "dot") if word != "."])
    label = rf"(?:{_LABEL}|{either(email_labels())})"
    ats = linear_pattern([word for word in words("email", "at") if word != "@"])
    return (
        f"(?-i:[{foldable}])",
        r"://|www\.|[a-z0-9]\.[a-z]{2,12}(?::[0-9]+)?/"
        r"|(?:instagram|facebook|linkedin|snapchat|twitter|weibo|wechat|messenger|whatsapp|x|line)\.(?:com|me)",
        "@",
        rf"(?:{ats})[ \t]{{0,2}}{label}[ \t]{{0,2}}(?:\.|{dots})"
        rf"|@[ \t]{{0,2}}{label}[ \t]{{0,2}}(?:[ \t]\.|\.[ \t]|{dots})"
        rf"|@[ \t]{{1,2}}[a-z0-9]|[a-z0-9_][ \t]{{1,2}}@",
        linear_pattern(platform_words) + r"|(?:^|[^a-z0-9])x(?: ?[:=(@\x{ff1a}\-]|[^a-z0-9][^@\n]{0,24}@)",
        r"@[a-z0-9_\x{3040}-\x{30ff}\x{3400}-\x{9fff}\x{ac00}-\x{d7af}]"
        r"|_|[:=\x{ff1a}][ \t]{0,2}(?:[a-z]{5}|[\x{3400}-\x{9fff}]{2})"
        r"|[a-z0-9][.\-][a-z0-9_]|[a-z_][0-9]|[0-9][a-z_]|[0-9][0-9 .\-()]{4}[0-9 .\-()]*[0-9]",
        rf"[0-9](?:{_BETWEEN}{{0,4}}[0-9Oo]){{6}}",
    )


_match_statement = cache(
    lambda: match_of(
        [
            linear_pattern(words("words", "own"))
            + rf"|[a-z](?:{either(languages('writing', 'endings'))})[^a-z]"
            + rf"|[^\x00-\x7f{LATIN}][ \t:\"'(]{{0,3}}[a-z]{{5}}"
            + rf"|[a-z]{{5}}[ \t\"')]{{0,3}}[^\x00-\x7f{LATIN}]"
        ],
        _MEMORY,
    )
)
"""An account's owner, or a Latin word beside another script."""


_match = cache(lambda: match_of(_patterns(), _MEMORY))
"""All patterns at once."""


@cache
def _hinted(numbers: tuple[int, ...]) -> frozenset[Hint]:
    """Return the hints with these numbers; none for a platform or a handle's form alone."""
    hints = frozenset(Hint(number) for number in numbers)
    return _NOTHING if hints <= {Hint.CUE} or hints <= {Hint.SHAPE} else hints


def hints(text: str) -> frozenset[Hint]:
    """Return the possible content of the text."""
    raw = as_bytes(text)
    numbers = _match()(raw)
    if not numbers:
        return _NOTHING
    if Hint.CUE in numbers and Hint.SHAPE not in numbers and _match_statement()(raw):
        numbers.append(Hint.STATED)
    return _hinted(tuple(numbers))


#: Longer texts are read at both ends only: this many characters from each.
LONGEST_END = 8_192
#: More contacts than this in one message are a list and not a person's details; the rest is ignored.
MOST_MATCHES = 100
_HANDLE_FORMS = frozenset({Hint.SHAPE, Hint.STATED})


def detect_contacts(text: str, country: str) -> list[ContactMatch]:
    """Return the contact details of one message, in the order of the text.

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
    """Return the contact details of many messages, each with its country, in their order.

    All texts go through the first pass together, and are then read group by group: so each pattern's tables
    stay in the processor's cache.
    """
    groups: dict[frozenset[Hint], list[int]] = {}
    for index, (text, _) in enumerate(texts):
        if hinted := hints(text):
            groups.setdefault(hinted, []).append(index)
    matches: list[list[ContactMatch]] = [[] for _ in texts]
    for hinted, group in groups.items():
        for index in group:
            text, country = texts[index]
            is_long = len(text) > 2 * LONGEST_END
            matches[index] = _detect_long(text, country) if is_long else _detect(text, country, hinted)
    return matches


def warm(countries: Iterable[str] | None = None) -> None:
    """Read all lexicons and the number plans of some countries, or of all markets, ahead of the messages.

    A number plan takes a megabyte, so a server reads those of its own channel accounts.
    """
    find_name("my name is Warm")
    for country in MARKETS if countries is None else countries:
        for text in _WARMING:
            detect_contacts(text, country)


def _detect(text: str, country: str, hinted: frozenset[Hint]) -> list[ContactMatch]:
    folded = Folded(text, text, text.lower())
    if Hint.FOLD in hinted:
        folded = fold(text)
        hinted = hints(folded.text)
    # Links, addresses, handles and numbers; each is blanked before the next are read.
    rest, finds = folded, list[Find]()
    if Hint.LINK in hinted:
        links, spans = find_links(rest)
        finds += links
        rest = rest.without(spans)
    for hint, find_emails_of in ((Hint.AT, find_emails), (Hint.SPELLED, find_spelled_emails)):
        if hint in hinted:
            emails = find_emails_of(rest)
            finds += emails
            rest = rest.without((find.start, find.end) for find in emails)
    if Hint.CUE in hinted and not hinted.isdisjoint(_HANDLE_FORMS):
        handles = find_handles(rest, country)
        finds += handles
        if handles and Hint.DIGITS in hinted:
            # An id that is also a phone number is read again.
            own = [find for find in handles if not find.rule.endswith(SHARED)]
            rest = rest.without((find.start, find.end) for find in own)
    if Hint.DIGITS in hinted:
        finds += find_phones(rest, country)
    if len(finds) > 1:
        finds.sort(key=itemgetter(2))  # by start
    matches: list[ContactMatch] = []
    for find in finds[:MOST_MATCHES]:
        start, end = folded.span(find.start, find.end)
        raw = text[start:end]
        matches.append(
            ContactMatch(find.field, find.value, start, end, raw, find.confidence, find.rule, find.extension)
        )
    return matches


def _detect_long(text: str, country: str) -> list[ContactMatch]:
    """Return the contacts at both ends of a long text, without those at a cut, which may be incomplete."""
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


def capture_contacts(
    switch: CaptureSwitch | None, text: str, country: str, received_at: datetime
) -> MessageContacts | None:
    """Detect contacts by formats alone (R21, R22); None if capture is off or was turned on later."""
    if switch is None or not switch.is_on or switch.turned_on_at is None or received_at < switch.turned_on_at:
        return None
    return MessageContacts(tuple(detect_contacts(text, country)), find_name(text[:LONGEST_END]))
