"""Numbers that are an id: digits after (or before) LINE or WeChat, which are that field and no phone."""

import re
from functools import cache
from typing import NamedTuple

from contatto.capture.fields.folding import Find, Folded
from contatto.capture.fields.words import pattern, words
from contatto.capture.model import Field

_NUMBER = re.compile(r"\+?[0-9(][0-9 .\-()]{4,17}[0-9](?![0-9a-z_@])")
_NUMBER_BEFORE = re.compile(
    r"(?<![0-9a-z_+])\+?[0-9(][0-9 .\-()]{5,17}[0-9](?=[ \t]*[(\[,|/\uff0c\u3001]?[ \t]*$)"
)
_CLOSED = re.compile(r"[ \t]*(?:[)\].,!;\n\uff0c\uff01\u3002]|$)")
_NEAR = 12
_SHARED = ".same-number"
#: Arrows and emoji, as a character class.
PICTURES = "\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\U0001f300-\U0001faff"


class Cue(NamedTuple):
    """One or more platform names that share what follows: "IG/FB"."""

    fields: tuple[Field, ...]
    start: int
    end: int
    plain: bool


@cache
def gap_pattern() -> re.Pattern[str]:
    """Return the pattern between a cue and its handle: marks, and words such as "is", "my", "คือ", "は"."""
    joiners = [
        *words("words", "joiners"),
        *words("words", "markers"),
        *words("words", "around"),
        *words("words", "is"),
    ]
    marks = (
        "['\u2019]s(?![a-z])"
        "|[:/\uff1a\u17d6\uff0c\uff01=~>|\\[\\](){}\"'\u201c\u201d\u2018\u2019\u00ab\u00bb\u3008-\u3011*_\u3001,!\u2026"
        f"{PICTURES}]|\\.(?= )|-(?=[ @])|(?<= )-|[\u2013\u2014]"
    )
    whole = r"(?:(?<![a-z])|(?![.\-]?[a-z0-9_]))"  # "shop.luna" begins with no joiner
    step = rf"[ \t\n]{{0,3}}(?:{marks}|{_inside(joiners)}{whole})"
    return re.compile(rf"(?:{step}){{0,7}}[ \t\n]{{0,3}}")


def _inside(options: list[str]) -> str:
    return pattern(option for option in options if option.strip("@ "))


@cache
def _same() -> re.Pattern[str]:
    return re.compile(pattern(words("words", "same_number")))


@cache
def _denied() -> re.Pattern[str]:
    """A negation right before a cue: "no line, call …", "ไม่มีไลน์ เบอร์ …"."""
    return re.compile(rf"(?:{pattern(words('words', 'negations'))})[ \t]*$")


@cache
def _shared_phone() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A phone or WhatsApp cue that shares the number: "Tel/WeChat", "電話・LINE"."""
    cues = pattern([*words("cues", "phone"), *words("cues", "whatsapp")])
    joint = f"[ \\t]*(?:[/&+|,\u3001\u30fb]|{pattern(words('words', 'and'))})[ \\t]*"
    return re.compile(f"{cues}{joint}$"), re.compile(f"(?:{joint}|(?<=[^ -~])){cues}")


def find_number(text: Folded, cue: Cue, country: str) -> Find | None:
    """The digits that are a LINE or WeChat id; the rule says when they are a phone as well."""
    fields = [field for field in cue.fields if field in (Field.LINE, Field.WECHAT)]
    if not fields or _denied().search(text.low, max(0, cue.start - _NEAR), cue.start):
        return None
    field = fields[0]
    span = _after(text, cue) or _before(text, cue)
    if span is None or (field is Field.LINE and not _is_line(text, cue, span, country)):
        return None
    digits = "".join(sign for sign in text.low[span[0] : span[1]] if sign.isdigit())
    rule = _SHARED if _shares_a_phone(text, cue, span) else ".number"
    return Find(field, digits, *span, 0.85, f"{field.value}{rule}")


def is_shared(find: Find) -> bool:
    """Report whether an id is also a phone number, so that phones may read it again."""
    return find.rule.endswith(_SHARED)


def _after(text: Folded, cue: Cue) -> tuple[int, int] | None:
    shared = _shared_phone()[1].match(text.low, cue.end)
    start = shared.end() if shared is not None else cue.end
    same = _same().match(text.low, start)
    gap = gap_pattern().match(text.low, same.end() if same is not None else start)
    number = _NUMBER.match(text.low, gap.end() if gap is not None else start)
    if number is None or sum(sign.isdigit() for sign in number[0]) < 6:
        return None
    return number.span()


def _before(text: Folded, cue: Cue) -> tuple[int, int] | None:
    number = _NUMBER_BEFORE.search(text.low, max(0, cue.start - 28), cue.start)
    if number is None:
        return None
    same = _same().match(text.low, cue.end)
    closed = _CLOSED.match(text.low, same.end() if same is not None else cue.end)
    shared = same is not None or _same().search(text.low, cue.end, cue.end + _NEAR) is not None
    return number.span() if closed is not None or shared else None


def _is_line(text: Folded, cue: Cue, span: tuple[int, int], country: str) -> bool:
    """In many countries a "line" is a phone line; there only "LINE" and "line id" mean the app."""
    written = text.text[cue.start : cue.end]
    if written.lower() != "line" or written == "LINE":
        return True
    return country.lower() in words("words", "line_app") and text.low[span[0]] != "+"


def _shares_a_phone(text: Folded, cue: Cue, span: tuple[int, int]) -> bool:
    first, last = min(cue.start, span[0]), max(cue.end, span[1])
    if _same().search(text.low, max(0, first - _NEAR), min(len(text.low), last + _NEAR)):
        return True
    before, ahead = _shared_phone()
    return bool(before.search(text.low, max(0, cue.start - 30), cue.start) or ahead.match(text.low, cue.end))
