"""Stated names: "my name is …" in many languages; a name never makes a lead by itself."""

import re
from functools import cache
from typing import NamedTuple

from contatto.capture.fields.folding import Folded
from contatto.capture.fields.prefilter import as_bytes
from contatto.capture.fields.words import LATIN, Match, linear_pattern, match_of, pattern, words

#: Openings that say so little that a small letter after them is no name: "I am late", "this is nice".
_VAGUE = frozenset(
    {
        *(
            "i'm",
            "i am",
            "this is",
            "call me",
            "name",
            "soy",
            "sou o",
            "sou a",
            "je suis",
            "nom",
            "nama",
            "an",
            "a n",
        ),
        *(
            "moi c'est",
            "nombre",
            "nome",
            "tên",
            "mình là",
            "tôi là",
            "jina",
            "mimi ni",
            "mimi",
            "they call me",
        ),
        *("contact person", "full name", "saya dengan", "le habla", "te habla", "name ko", "ako ay si"),
    }
)
_BETWEEN = re.compile(
    r"[ \t]*(?:[:：=\-]|is\b|es\b|é\b|est\b|adalah\b|ay\b|ni\b|là\b|は|是|คือ|គឺ|هو|है|ہے)?[ \t]*"
)
_MEMORY = 8 << 20  # bytes that the automaton of all openings may take
_LETTER = rf"[{LATIN}]"
_LATIN = re.compile(
    rf"{_LETTER}[{LATIN}'\u2019\-]{{1,24}}(?: {_LETTER}[{LATIN}'\u2019\-]{{0,24}}){{0,3}}", re.IGNORECASE
)
_OTHER = re.compile(
    r"[\u0e01-\u0e4e]{2,24}(?: [\u0e01-\u0e4e]{2,24})?"
    r"|[\u3041-\u30ff\u3400-\u9fff]{1,12}(?:[ \u30fb][\u3041-\u30ff\u3400-\u9fff]{1,12})?"
    r"|[\uac00-\ud7a3]{2,8}"
    r"|[\u0621-\u064a\u066e-\u06d3]{2,20}(?: [\u0621-\u064a\u066e-\u06d3]{2,20})?"
    r"|[\u05d0-\u05ea]{2,20}(?: [\u05d0-\u05ea]{2,20})?|[\u0900-\u0963]{2,20}(?: [\u0900-\u0963]{2,20})?"
    r"|[\u0b80-\u0bff]{2,24}|[\u0d80-\u0dff]{2,24}|[\u1780-\u17d3]{2,24}"
)
_PARTICLES = re.compile(
    r"(?:ครับผม|ครับ|ค่ะ|คะ|นะ|จ้า|と申します|ともうします|といいます|と言います"
    r"|です|입니다|이에요|예요|이라고 합니다"
    r"|बोल रहा.*| है| ہے| வணக்கம்|បាទ|ចា៎)+.*$"
)
_SMALL = frozenset(
    {
        "de",
        "da",
        "do",
        "dos",
        "del",
        "la",
        "las",
        "los",
        "van",
        "von",
        "bin",
        "binti",
        "binte",
        "al",
        "el",
        "y",
        "e",
    }
)


class NameFind(NamedTuple):
    """A stated name with its span in the folded text."""

    value: str
    start: int
    end: int
    rule: str


@cache
def intro() -> re.Pattern[str]:
    """The words that come before a name."""
    return re.compile(pattern(words("names", "intro"), grouped=True))


@cache
def may_open() -> Match:
    """Report whether a folded lower-case text has any opening; this costs a tenth of the full search."""
    return match_of((f"(?-i:{linear_pattern(words('names', 'intro'))})",), _MEMORY)


@cache
def _ordinary() -> frozenset[str]:
    return frozenset(words("words", "stop")) | frozenset(words("words", "negations"))


def find_name(text: Folded) -> NameFind | None:
    """The first stated name."""
    if not may_open()(as_bytes(text.low)):
        return None
    for opening in intro().finditer(text.low):
        gap = _BETWEEN.match(text.low, opening.end())
        start = gap.end() if gap is not None else opening.end()
        name = _latin(text, opening, start) or _other(text, start)
        if name is not None:
            return name
    return None


def _latin(text: Folded, opening: re.Match[str], start: int) -> NameFind | None:
    match = _LATIN.match(text.text, start)
    if match is None:
        return None
    vague = opening[0].strip() in _VAGUE or not opening[0].isascii()
    end = start
    for word in re.finditer(r"[^ ]+", match[0]):
        if not _goes_on(word[0], first=word.start() == 0, vague=vague):
            break
        end = start + word.end()
    value = text.text[start:end].rstrip("-'\u2019 ")
    while value.split(" ")[-1].lower() in _SMALL:
        value = value[: value.rfind(" ")] if " " in value else ""
    return NameFind(value, start, start + len(value), "name.stated") if len(value) > 1 else None


def _goes_on(word: str, *, first: bool, vague: bool) -> bool:
    """Report whether a word belongs to the name: capitals do, and "de" or "bin" inside it."""
    plain = word.lower()
    if first:
        return plain not in _ordinary() and (word[0].isupper() or not vague)
    return word[0].isupper() or plain in _SMALL


def _other(text: Folded, start: int) -> NameFind | None:
    match = _OTHER.match(text.text, start)
    if match is None:
        return None
    value = _PARTICLES.sub("", match[0]).strip()
    if not value or value in _ordinary():
        return None
    return NameFind(value, start, start + len(value), "name.stated")
