"""Handles: a platform's name or nickname, a mark or a handle's shape, and the handle itself."""

import re
from collections.abc import Iterator
from functools import cache

from contatto.capture.fields.context import MarkKind, kinds_near
from contatto.capture.fields.folding import Find, Folded, both_ends
from contatto.capture.fields.ids import PICTURES, Cue, find_number, gap_pattern
from contatto.capture.fields.statements import find_stated
from contatto.capture.fields.words import LATIN, key, lexicons, pattern, words
from contatto.capture.model import Field

_FIELDS = (
    Field.INSTAGRAM, Field.FACEBOOK, Field.MESSENGER, Field.LINE, Field.TWITTER, Field.LINKEDIN, Field.WEIBO,
    Field.WECHAT, Field.SNAPCHAT,
)  # fmt: skip
#: What a platform's handles are made of, and how long they are.
_SHAPES = {
    Field.INSTAGRAM: re.compile(r"[a-z0-9_.]{3,30}"),
    Field.FACEBOOK: re.compile(r"[a-z0-9._\-]{3,50}"),
    Field.MESSENGER: re.compile(r"[a-z0-9._\-]{3,50}"),
    Field.LINE: re.compile(r"[a-z0-9._\-]{3,30}"),
    Field.TWITTER: re.compile(r"[a-z0-9_]{3,20}"),
    Field.LINKEDIN: re.compile(r"[a-z0-9\-._]{3,100}"),
    Field.WEIBO: re.compile(r"[a-z0-9_\-\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,30}"),
    Field.WECHAT: re.compile(r"[a-z0-9_\-]{3,30}"),
    Field.SNAPCHAT: re.compile(r"[a-z0-9._\-]{3,30}"),
}
_TOKEN = re.compile(r"(?P<at>@ ?)?(?P<id>[a-z0-9_][a-z0-9_.\-]{2,59})")
_HAN_TOKEN = re.compile(
    r"(?:@ ?|(?<=[:\uff1a]) ?)"
    r"(?P<id>[a-z0-9_\-]{0,20}[\u3400-\u9fff\uac00-\ud7af][a-z0-9_\-\u30a0-\u30ff\u3400-\u9fff\uac00-\ud7af]{1,29})"
    r"(?![^\s,.!\u3001\u3002\uff0c\uff01\u3040-\u309f])"
)
_FAR = re.compile(
    rf"(?P<words>[^0-9@.,;:!?\u3002\uff01\uff0c\uff1a\uff1f\u060c\u061f\n{PICTURES}]{{1,24}})"
    rf"(?P<mark>(?=@)|[:\uff1a\u300c\u3010{PICTURES}][ \t]?)"
)
#: Cues that are also ordinary words: no handle far behind them.
_WORDS_TOO = frozenset({"line", "snap", "sc", "face", "x", "tw", "wb", "ms"})
_IN = re.compile(r"(?:/?(?:in|company)/)?")
_BEFORE = re.compile(r"(?P<at>@)?(?P<id>[a-z0-9_][a-z0-9_.\-]{2,40})$")
_MORE = re.compile(rf"[ \t]+[{LATIN}]")
_FIGURES = re.compile(
    r"(?:v|no|ver|vol)\.?[0-9][0-9.]*|[0-9]+-[a-z]{2,3}-[0-9]+|[0-9][0-9.,\-_]*(?:[a-z]{1,4})?|[0-9]+[a-z]?[x.][0-9]+[a-z]*|[0-9]{1,2}\.[a-z]+"
)
_WEBSITE = re.compile(
    r"\.(?:com|net|org|info|biz|com\.[a-z]{2}|co\.(?:bw|cr|id|il|in|jp|ke|kr|ma|mz|nz|th|tz|ug|uk|ve|za|zm|zw))$"
)
_GOES_ON = re.compile(rf"[{LATIN}#%]")
_SIGNED = re.compile(r"[0-9_.\-]")
_JOINED = re.compile(r"[a-z0-9][_.][a-z0-9]")
_GLUED = re.compile(r"[a-z][0-9]")
_WORD_BEFORE = re.compile(rf"([{LATIN}]+)[ \t]{{1,2}}$")
_MOST_WORDS = 3
_OTHER_THINGS = frozenset({MarkKind.LABEL, MarkKind.NEGATION, MarkKind.PHONE, MarkKind.WHATSAPP})
_PARTS = re.compile(r"[._\-]+")


@cache
def _cue_words() -> tuple[re.Pattern[str], dict[str, Field | None]]:
    fields: dict[str, Field | None] = {key(word): None for word in words("words", "not_cues")}
    every = list(words("words", "not_cues"))
    for field in _FIELDS:
        for word in words("cues", field.value):
            fields.setdefault(key(word), field)
            every.append(word)
    return re.compile(pattern(every, grouped=True)), fields


@cache
def _x() -> re.Pattern[str]:
    """Return the pattern of X as a platform: an `@` or a colon follows, after words such as "is"."""
    small = pattern([*words("words", "joiners"), *words("words", "is")])
    return re.compile(
        r"(?<![A-Za-z0-9_.\-'&])(?:X[ \t]{0,2}(?:[:\uff1a=(\-][ \t]{0,2})?(?=@[A-Za-z0-9_])"
        rf"|[Xx](?:[ \t]?{small}){{1,3}}[ \t]?(?=@[A-Za-z0-9_])"
        r"|[Xx][ \t]?[:\uff1a=][ \t]{0,2}(?=@?[A-Za-z0-9_]{3}))"
    )


@cache
def _and() -> re.Pattern[str]:
    return re.compile(rf"[ \t]*(?:[/&+|,\uff0c\u3001\u060c]|(?:, ?)?{pattern(words('words', 'and'))})[ \t]*")


@cache
def _named() -> re.Pattern[str]:
    return re.compile(
        rf"{pattern(words('words', 'markers'))}[^ \t:=\uff1a]{{0,8}}[ \t]{{0,2}}[:=\uff1a][ \t]{{0,2}}$"
    )


@cache
def _leads() -> re.Pattern[str]:
    """Return the pattern between a handle and the cue after it: "@name on instagram"."""
    small = pattern([*words("words", "before"), *words("words", "is")])
    return re.compile(rf"(?P<gap>[ \t]*(?:[(\[\uff08\-|/=]|{small})?[ \t]*)$")


@cache
def _leading_words() -> frozenset[str]:
    """Words that may stand right before "line" when it is the app's name."""
    kinds = ("joiners", "before", "and", "markers", "is")
    last_words = {word.split()[-1] for kind in kinds for word in words("words", kind)}
    return frozenset(
        last_words
        | {"add", "contact", "via", "use", "official", "new", "or", "have", "your", "through"}
        | {"chat", "kontak", "oa", "dm"}
    )


@cache
def _ordinary() -> tuple[frozenset[str], ...]:
    """Ordinary words, language by language: "pls.thanks" is one in English, "luna.sale" in none."""
    kinds = ("stop", "joiners")
    every = [
        [word for kind in kinds for word in lexicon.get("words", {}).get(kind, ())] for lexicon in lexicons()
    ]
    return tuple(frozenset(listed) for listed in every if listed)


def find_handles(text: Folded, country: str) -> list[Find]:
    """Handles and, for LINE and WeChat, numbers that a platform's name leads to or follows."""
    matches: list[Find] = []
    claimed = 0
    for cue in _cues(text):
        if cue.start < claimed or not _is_platform(text, cue):
            continue
        number = find_number(text, cue, country)
        if number is not None:
            matches.append(number)
            claimed = max(claimed, cue.end, number.end)
            continue
        handles = (
            _behind(text, cue)
            or _ahead(text, cue, claimed)
            or _far_behind(text, cue)
            or find_stated(text, cue, claimed)
        )
        if handles is None:
            continue
        start, end, value, rule = handles
        claimed = max(claimed, end)
        matches += [
            Find(field, value, start, end, 0.9, f"{field.value}.{rule}")
            for field in dict.fromkeys(cue.fields)
            if _SHAPES[field].fullmatch(value)
        ]
    return matches


def _cues(text: Folded) -> Iterator[Cue]:
    finder, fields = _cue_words()
    cues = [
        Cue((field,), match.start(), match.end(), plain=match[0].isascii())
        for match in both_ends(finder.finditer(text.low))
        if (field := fields[key(match[match.lastindex or 0])]) is not None
        and not _GLUED.match(text.low, match.end() - 1)
    ]
    if "X" in text.text or "x" in text.text:
        marks = both_ends(_x().finditer(text.text))
        cues += [Cue((Field.TWITTER,), match.start(), match.end(), plain=True) for match in marks]
    if len(cues) > 1:
        cues.sort(key=lambda cue: cue.start)
        cues = both_ends(cues)
    if len(cues) == 1:
        yield cues[0]
        return
    index = 0
    while index < len(cues):
        cue = cues[index]
        index += 1
        while index < len(cues) and _and().fullmatch(text.low, cue.end, cues[index].start):
            following = cues[index]
            cue = Cue(
                (*cue.fields, *following.fields), cue.start, following.end, cue.plain and following.plain
            )
            index += 1
        yield cue


def _is_platform(text: Folded, cue: Cue) -> bool:
    """Report whether a cue means the platform: "line" is also a railway's, a queue's, a phone's."""
    if (
        cue.fields != (Field.LINE,)
        or text.low[cue.start : cue.end] != "line"
        or text.text[cue.start].isupper()
    ):
        written = text.text[cue.start : cue.end]
        if cue.fields != (Field.LINE,) or written != "Line":
            return True
    before = _WORD_BEFORE.search(text.low, max(0, cue.start - 24), cue.start)
    return before is None or before[1] in _leading_words()


def _behind(text: Folded, cue: Cue) -> tuple[int, int, str, str] | None:
    """The handle after the cue."""
    gap = gap_pattern().match(text.low, cue.end)
    start = gap.end() if gap is not None else cue.end
    if cue.fields == (Field.WEIBO,):
        han = _HAN_TOKEN.match(text.low, start)
        if han is not None and not han["id"].startswith(words("words", "negations")):
            return han.start("id"), han.end("id"), han["id"], "handle"
    while start > cue.end and text.low[start - 1] == "_":
        start -= 1  # an underscore that the gap took for a mark of emphasis may be the handle's first sign
    if cue.fields == (Field.LINKEDIN,):
        start = _IN.match(text.low, start).end()  # type: ignore[union-attr]
    token = _TOKEN.match(text.low, start)
    if token is None or (
        cue.plain and start == cue.end and token["at"] is None and cue.fields != (Field.TWITTER,)
    ):
        return None
    end = token.start("id") + len(token["id"].rstrip(".-"))
    value = text.low[token.start("id") : end]
    if not _is_handle(text.low, token, value, end) and not _is_named(text.low, cue, token, value, end):
        return None
    return token.start("id"), end, value, "handle"


def _far_behind(text: Folded, cue: Cue) -> tuple[int, int, str, str] | None:
    """The marked handle a few other words behind the cue: "instagram do salão @name"."""
    far = _FAR.match(text.low, cue.end)
    if far is None or text.low[cue.start : cue.end] in _WORDS_TOO:
        return None
    between, mark = far["words"], far["mark"]
    if between.isascii() and (mark or len(between.split()) > _MOST_WORDS):
        return None
    if _cue_words()[0].search(between) or not kinds_near(between).isdisjoint(_OTHER_THINGS):
        return None
    token = _TOKEN.match(text.low, far.end())
    if token is None:
        return None
    end = token.start("id") + len(token["id"].rstrip(".-"))
    value = text.low[token.start("id") : end]
    return (token.start("id"), end, value, "handle") if _is_handle(text.low, token, value, end) else None


def _is_handle(low: str, token: re.Match[str], value: str, end: int) -> bool:
    if len(value) < 3 or _goes_on(low, end):
        return False
    if token["at"] == "@":
        return True
    return not _FIGURES.fullmatch(value) and not _WEBSITE.search(value) and _has_shape(value)


def _goes_on(low: str, end: int) -> bool:
    """Report whether the following text makes the word part of an address, a link or a longer word."""
    following = low[end : end + 3]
    return following[:1] == "@" or following == "://" or _GOES_ON.match(following) is not None


def _is_named(low: str, cue: Cue, token: re.Match[str], value: str, end: int) -> bool:
    """Report whether "id:" or "username:" stands right before a word that is no ordinary one."""
    if len(value) < 5 or not value.isalpha() or _goes_on(low, end) or _MORE.match(low, end):
        return False
    if any(value in words for words in _ordinary()):
        return False
    return _named().search(low, cue.start, token.start()) is not None


def _has_shape(value: str) -> bool:
    """Report whether a word has the shape of a handle: a digit, `_`, `.` or `-`, not ordinary words."""
    if not _SIGNED.search(value):
        return False
    parts = [part for part in _PARTS.split(value) if part]
    if "_" in value:
        return bool(parts)
    return bool(parts) and not any(value in words or words.issuperset(parts) for words in _ordinary())


def _ahead(text: Folded, cue: Cue, claimed: int) -> tuple[int, int, str, str] | None:
    """The handle before the cue: "@name on instagram"."""
    window = max(claimed, cue.start - 64)
    lead = _leads().search(text.low, window, cue.start)
    if lead is None:
        return None
    token = _BEFORE.search(text.low, window, lead.start())
    if token is None:
        return None
    value = token["id"].rstrip(".-")
    before = text.low[token.start() - 1 : token.start()]
    if before and (before.isalnum() or before in "@./_"):
        return None
    if token["at"] is None and not (lead["gap"].strip() and _JOINED.search(value) and _has_shape(value)):
        return None
    return token.start("id"), token.start("id") + len(value), value, "handle-before"
