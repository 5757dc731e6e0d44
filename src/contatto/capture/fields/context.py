"""Context of a number: cues, labels, units and negations, and their assignment to numbers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

from contatto.capture.fields.words import LATIN, Match, either, key, linear_pattern, match_of, pattern, words


class MarkKind(IntEnum):
    """Meaning of a word for digits near it; an earlier kind wins where lexicons share a word."""

    WHATSAPP = 1
    LABEL = 2
    LINE = 3
    WECHAT = 4
    PHONE = 5
    NUMBER = 6
    NEGATION = 7


_SECTIONS = {
    MarkKind.WHATSAPP: ("cues", "whatsapp"),
    MarkKind.LABEL: ("numbers", "labels"),
    MarkKind.LINE: ("cues", "line"),
    MarkKind.WECHAT: ("cues", "wechat"),
    MarkKind.PHONE: ("cues", "phone"),
    MarkKind.NUMBER: ("cues", "number"),
    MarkKind.NEGATION: ("words", "negations"),
}

#: What comes back from `kinds_near` beside the kinds. At the end of what stands before a number: a label with
#: nothing but words after it, a sign or a word for money, letters written onto the digits. At the start of
#: what stands after it: a unit or a sign, letters written onto the digits. Anywhere: "no WhatsApp", which
#: means "number" in Malay and Indonesian, "on" in Portuguese, and none elsewhere.
LABEL_LAST, SUM_LAST, LETTER_LAST, UNIT_FIRST, LETTER_FIRST, NO_WHATSAPP, WISH = 0, 8, 9, 10, 11, 12, 13
_NO_IS_NUMBER = frozenset({"ID", "MY"})
_NO_IS_ON = frozenset({"BR"})
_NEAR = 48
_SENTENCE_END = re.compile(r"[\n;!?。！？؟]|(?<=[^\W\d_]{3})\.(?=\s)|(?<=\d)\.(?=\s)|[,،，、]\s?")
_PARTING = re.compile(r"[,;/)\n、，،]")
_NO = re.compile(r"(?<![a-z])no[ \-]$")
#: Signs between a label and its digits that begin no new sentence.
_BARE = r"[ \t:#=()\[\]\-\x{ff1a}\x{2013}\x{2014}\"'\x{300c}*/]"
_BARE_PY = "[ \\t:#=()\\[\\]\\-\uff1a\u2013\u2014\"'\u300c*/]"
_OTHER_WORD = r"[^\s0-9.,;:!?\x{3002}\x{ff0c}\x{60c}\x{3001}]{1,12}"
_OTHER_WORD_PY = r"[^\s0-9.,;:!?\u3002\uff0c\u060c\u3001]{1,12}"
_NUMBERING = re.compile(
    r"(?<![a-z])(?:number|no|num|nro|nr|nomor|nombor|nomer|numero|número|numéro|id|code|kode|kod|codigo|código|otp|imei|serial|serie"
    r"|série|seri|sn|namba|số|so|mã|ref|resi)(?![a-z])|n[°º]|เลข|รหัส|ซีเรียล|رقم|كود|رمز|سيريال|نمبر|番号|コード|号|號|编号|码|מספר|מס'|קוד|අංකය|எண்|លេខ"
)
_STOPS = frozenset(",.;!)")
_HARD_END = re.compile(r"[\n;]|(?<=[^\W\d_]{4})[.!?](?=\s)")


@dataclass(frozen=True, slots=True)
class Mark:
    """One telling word."""

    kind: MarkKind
    start: int
    end: int


@cache
def _marks_pattern() -> tuple[re.Pattern[str], dict[str, MarkKind]]:
    kinds: dict[str, MarkKind] = {}
    for kind, section in _SECTIONS.items():
        for word in words(*section):
            kinds.setdefault(key(word), kind)
    every = dict.fromkeys(word for section in _SECTIONS.values() for word in words(*section))
    return re.compile(pattern(every, grouped=True)), kinds


@cache
def _copula() -> re.Pattern[str]:
    """Return the pattern between a number and the label after it: "… is my order number"."""
    return re.compile(
        rf"[ \t]*[\"')\]]?[ \t]*(?:[=(\-\u2013\u2014]|{pattern(words('words', 'is'))})[^\d,.;\n]{{0,14}}"
    )


@cache
def _small_words() -> list[str]:
    """Return the pattern between a label and its digits: "order no is …", "rekening saya …"."""
    kinds = (
        ("words", "joiners"),
        ("words", "is"),
        ("words", "markers"),
        ("words", "around"),
        ("cues", "number"),
    )
    return list(dict.fromkeys(word for section in kinds for word in words(*section)))


@cache
def _wish() -> re.Pattern[str]:
    return re.compile(rf"{pattern(words('words', 'wishes'))}[ \t]*$")


@cache
def _labels() -> tuple[list[str], list[str]]:
    """Labels that are things as well ("invoice"), and those that can only be of digits ("invoice number")."""
    every = words("numbers", "labels")
    numbering = [label for label in every if _NUMBERING.search(label)]
    return [label for label in every if label not in set(numbering)], numbering


@cache
def _label_gap() -> re.Pattern[str]:
    """Return the pattern between a label and its digits, with one word more after "… number"."""
    return re.compile(
        rf"(?:{_BARE_PY}*(?:{pattern(_small_words())})){{0,4}}{_BARE_PY}*(?P<word>{_OTHER_WORD_PY}{_BARE_PY}*)?"
    )


@cache
def _kinds() -> Match:
    return match_of(_kind_patterns(), 32 << 20)


def _kind_patterns() -> Iterator[str]:
    small = rf"(?:{_BARE}|{either(_small_words())})*"
    plain, numbering = (linear_pattern(listed) for listed in _labels())
    yield (rf"(?:{plain}|(?:{numbering}){small}(?:{_OTHER_WORD})?){small}$")
    for section in _SECTIONS.values():
        yield (linear_pattern(words(*section)))
    money = linear_pattern(words("numbers", "currencies"), ends="[.: ]{0,2}$")
    yield (
        rf"[#*$\x{{a3}}\x{{a5}}\x{{20a0}}-\x{{20bf}}\x{{e3f}}\x{{17db}}\x{{fdfc}}%@&_]\s?$|[0-9],\s?$|{money}"
    )
    yield (rf"[{LATIN}0-9][\-_]?$")
    units = linear_pattern(words("numbers", "units"), starts="^[ \t]?")
    yield (rf"^[*%\x{{2022}}]|^[ \t]?[%\x{{b0}}\x{{b2}}\x{{b3}}]|{units}")
    yield (rf"^[\-_]?[{LATIN}]")
    yield (linear_pattern(f"no {word}" for word in words("cues", "whatsapp")))
    yield (linear_pattern(words("words", "wishes")))


def kinds_near(low: str) -> frozenset[int]:
    """The kinds of words in a stretch of text, without their places: quick, for the plain cases."""
    try:
        matches = _kinds()(low.encode())
    except UnicodeEncodeError:
        matches = _kinds()(low.encode("utf-8", "replace"))
    return frozenset(matches) if matches else _NONE


_NONE: frozenset[int] = frozenset()


@cache
def _numbering() -> tuple[str, ...]:
    """Beginnings of labels that say "number of": after bare digits they need no "is"."""
    stems = (
        "no",
        "nomor",
        "nombor",
        "num",
        "nro",
        "codigo",
        "kode",
        "kod",
        "เลข",
        "หมายเลข",
        "รหัส",
        "رقم",
        "số",
        "mã",
    )
    return (*map(key, stems), "លេខ", "namba", "nambari", "מספר", "注文番号", "订单", "快递")


@cache
def _near_words() -> re.Pattern[str]:
    return re.compile(rf"(?:[ \t]*{pattern([*words('words', 'joiners'), *words('words', 'is')])})*[ \t]*")


@cache
def _same() -> re.Pattern[str]:
    """The words for "same number", right after a cue."""
    return re.compile(rf"[ \t:\uff1a=\-(]*{pattern(words('words', 'same_number'))}")


def find_marks(low: str, first: int, last: int) -> list[Mark]:
    """Every telling word of a stretch of lower-cased text, in order."""
    finder, kinds = _marks_pattern()
    marks = []
    for match in finder.finditer(low, first, last):
        word = match[match.lastindex or 0]
        marks.append(Mark(kinds[key(word)], match.start(), match.end()))
    return marks


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The words before and after one number, up to its neighbours."""

    low: str
    start: int
    end: int
    before: list[Mark]
    after: list[Mark]
    limit: int
    country: str

    @property
    def followed(self) -> bool:
        """Report whether another number comes after this one."""
        return self.limit < len(self.low)

    def label(self) -> bool:
        """Report whether a label marks these digits as something else."""
        for mark in reversed(self.before):
            if mark.kind is MarkKind.LABEL:
                gap = _label_gap().fullmatch(self.low, mark.end, self.start)
                label = self.low[mark.start : mark.end]
                if gap is None or self._wished(mark):
                    continue
                if gap["word"] is None or _NUMBERING.search(label):
                    return True
            if mark.kind in (MarkKind.PHONE, MarkKind.WHATSAPP, MarkKind.LINE, MarkKind.WECHAT):
                return False
        return self._label_after()

    def _wished(self, label: Mark) -> bool:
        """Report whether somebody asks for the thing: "I want to place an order 0412 …"."""
        if _NUMBERING.search(self.low[label.start : label.end]):
            return False
        return _wish().search(self.low, max(0, label.start - 24), label.start) is not None

    def _label_after(self) -> bool:
        if self.cue(MarkKind.PHONE) or self.cue(MarkKind.WHATSAPP):
            return False
        for mark in self.after:
            if mark.kind is MarkKind.LABEL:
                between = self.low[self.end : mark.start]
                if _copula().fullmatch(between):
                    return True
                if self.followed:
                    return False
                word = key(self.low[mark.start : mark.end])
                return word.startswith(_numbering()) and _near_words().fullmatch(between) is not None
            if mark.kind is not MarkKind.NUMBER:
                return False
        return False

    def cue(self, *kinds: MarkKind) -> bool:
        """Report whether a word of one of these kinds leads to the number."""
        return any(mark.kind in kinds and self.start - mark.end <= _NEAR for mark in self.before)

    def cue_after(self, *kinds: MarkKind) -> Mark | None:
        """A word of one of these kinds shortly after the number, in the same clause."""
        for mark in self.after:
            gap = self.low[self.end : mark.start]
            if len(gap) > _NEAR or (_HARD_END.search(gap) and not _same().match(self.low, mark.end)):
                return None
            if mark.kind in kinds:
                return mark
        return None

    def whatsapp(self) -> str:
        """The rule by which this is a WhatsApp number, or nothing."""
        for mark in reversed(self.before):
            if mark.kind is MarkKind.PHONE and self._clause_between(mark) and not self._negated(mark):
                return ""
            if mark.kind is MarkKind.WHATSAPP and self.start - mark.end <= _NEAR:
                return "" if self._negated(mark) else "whatsapp.cue-before"
        mark_after = self.cue_after(MarkKind.WHATSAPP)
        if mark_after is None or self._negated(mark_after) or self._belongs_to_next(mark_after):
            return ""
        return "whatsapp.cue-after"

    def _clause_between(self, phone: Mark) -> bool:
        """Report whether the phone cue opens a new clause after an earlier WhatsApp cue."""
        earlier = [
            mark.end for mark in self.before if mark.kind is MarkKind.WHATSAPP and mark.end <= phone.start
        ]
        return bool(earlier) and _SENTENCE_END.search(self.low, earlier[-1], phone.start + 1) is not None

    def _belongs_to_next(self, mark: Mark) -> bool:
        """Report whether a cue between two numbers leads to the second: "tel 021 … wa 0812 …"."""
        if not self.followed:
            return False
        if self.low[self.end : mark.start].strip() == "(":
            return False
        return not _PARTING.search(self.low, mark.end, self.limit)

    def _negated(self, cue: Mark) -> bool:
        """Report whether the cue is negated: "no tengo whatsapp", "gak ada WA", "WhatsApp ไม่มี"."""
        has_negation = self.low.startswith(("no ", "no-"), cue.start)
        if cue.kind is MarkKind.WHATSAPP and (
            has_negation or _NO.search(self.low, max(0, cue.start - 4), cue.start)
        ):
            if self.country in _NO_IS_NUMBER:
                return self.low[cue.end : cue.end + 1] in _STOPS
            return self.country not in _NO_IS_ON
        for mark in (*self.before, *self.after):
            if mark.kind is not MarkKind.NEGATION:
                continue
            if mark.end <= cue.start and cue.start - mark.end <= 14:
                return not _SENTENCE_END.search(self.low, mark.end, cue.start)
            if cue.end <= mark.start <= cue.end + 12 and mark.end <= max(self.start, self.end + _NEAR):
                return not _SENTENCE_END.search(self.low, cue.end, mark.start)
        return False
