"""Phone and WhatsApp numbers with extensions, by notation and by the words near them."""

import re
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cache
from typing import NamedTuple

import rphonenumbers

from contatto.capture.fields.text import (
    LATIN,
    Find,
    Folded,
    Matcher,
    as_bytes,
    both_ends,
    either,
    key,
    linear_pattern,
    match_of,
    pattern,
    words,
)
from contatto.capture.model import Field


class MarkKind(IntEnum):
    """Meaning of a word for digits near it; the first kind wins for shared words.

    A label, such as "order number", says that the digits are no phone number.
    """

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

#: Other results of `kinds_near`; like `MarkKind`, they are positions of patterns in `_kinds`.
#: Right before a number: a label, perhaps with small words between
#: (LABEL_LAST), a sign or word for money (SUM_LAST), attached letters (LETTER_LAST). Right after it: a unit
#: or sign (UNIT_FIRST), attached letters (LETTER_FIRST). Anywhere: a wish like "want to", or "no WhatsApp".
#: That "no" means "number" in Malay and Indonesian, "on" in Portuguese, and is a negation elsewhere.
LABEL_LAST, SUM_LAST, LETTER_LAST, UNIT_FIRST, LETTER_FIRST, NO_WHATSAPP, WISH_NEAR = 0, 8, 9, 10, 11, 12, 13
_NONE: frozenset[int] = frozenset()
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
class NumberMark:
    """Word near a number that tells its meaning."""

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


_copula = cache(
    lambda: re.compile(
        rf"[ \t]*[\"')\]]?[ \t]*(?:[=(\-\u2013\u2014]|{pattern(words('words', 'is'))})[^\d,.;\n]{{0,14}}"
    )
)
"""Pattern between a number and the label after it: "… is my order number"."""


@cache
def _small_words() -> list[str]:
    """Return the words that may stand between a label and its digits: "order no is …", "rekening saya …"."""
    kinds = [("words", kind) for kind in ("joiners", "is", "markers", "around")]
    return list(dict.fromkeys(word for section in (*kinds, ("cues", "number")) for word in words(*section)))


_wish_words = cache(lambda: re.compile(rf"{pattern(words('words', 'wishes'))}[ \t]*$"))


_label_gap = cache(
    lambda: re.compile(
        rf"(?:{_BARE_PY}*(?:{pattern(_small_words())})){{0,4}}{_BARE_PY}*(?P<word>{_OTHER_WORD_PY}{_BARE_PY}*)?"
    )
)
"""Pattern between a label and its digits, with one word more after "… number"."""


@cache
def _kinds() -> Matcher:
    small = rf"(?:{_BARE}|{either(_small_words())})*"
    # Labels that also name things ("invoice"), and labels of digits only ("invoice number").
    labels = words("numbers", "labels")
    plain = linear_pattern(label for label in labels if not _NUMBERING.search(label))
    numbering = linear_pattern(label for label in labels if _NUMBERING.search(label))
    money = linear_pattern(words("numbers", "currencies"), ends="[.: ]{0,2}$")
    units = linear_pattern(words("numbers", "units"), starts="^[ \t]?")
    patterns = [
        rf"(?:{plain}|(?:{numbering}){small}(?:{_OTHER_WORD})?){small}$",
        *(linear_pattern(words(*section)) for section in _SECTIONS.values()),
        rf"[#*$\x{{a3}}\x{{a5}}\x{{20a0}}-\x{{20bf}}\x{{e3f}}\x{{17db}}\x{{fdfc}}%@&_]\s?$|[0-9],\s?$|{money}",
        rf"[{LATIN}0-9][\-_]?$",
        rf"^[*%\x{{2022}}]|^[ \t]?[%\x{{b0}}\x{{b2}}\x{{b3}}]|{units}",
        rf"^[\-_]?[{LATIN}]",
        linear_pattern(f"no {word}" for word in words("cues", "whatsapp")),
        linear_pattern(words("words", "wishes")),
    ]
    return match_of(patterns, 32 << 20)


def kinds_near(low: str) -> frozenset[int]:
    """Return the kinds of words in a stretch of text, without their places: quick, for the plain cases."""
    matches = _kinds()(as_bytes(low))
    return frozenset(matches) if matches else _NONE


_NUMBERING_STEMS = (
    "no", "nomor", "nombor", "num", "nro", "codigo", "kode", "kod", "เลข", "หมายเลข", "รหัส", "رقم",
    "số", "mã",
)  # fmt: skip
_NUMBERING_WORDS = (
    *map(key, _NUMBERING_STEMS), "លេខ", "namba", "nambari", "מספר", "注文番号", "订单", "快递"
)  # fmt: skip
"""Beginnings of labels that say "number of": right after digits they need no "is" in between."""


_near_words = cache(
    lambda: re.compile(rf"(?:[ \t]*{pattern([*words('words', 'joiners'), *words('words', 'is')])})*[ \t]*")
)


_same = cache(lambda: re.compile(rf"[ \t:\uff1a=\-(]*{pattern(words('words', 'same_number'))}"))
"""The words for "same number", right after a cue."""


def find_marks(low: str, first: int, last: int) -> list[NumberMark]:
    """Return the words of all kinds in a stretch of lower-cased text, in order."""
    finder, kinds = _marks_pattern()
    marks = []
    for match in finder.finditer(low, first, last):
        word = match[match.lastindex or 0]
        marks.append(NumberMark(kinds[key(word)], match.start(), match.end()))
    return marks


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Words before and after one number, up to the neighbouring numbers.

    ``limit`` is the start of the next number, or the end of the text.
    """

    low: str
    start: int
    end: int
    before: list[NumberMark]
    after: list[NumberMark]
    limit: int
    country: str

    def label(self) -> bool:
        """Report whether a label marks these digits as another number, such as that of an order."""
        for mark in reversed(self.before):
            if mark.kind is MarkKind.LABEL:
                gap = _label_gap().fullmatch(self.low, mark.end, self.start)
                is_thing = not _NUMBERING.search(self.low, mark.start, mark.end)
                # Somebody asks for the thing: "I want to place an order 0412 …".
                is_wish = is_thing and _wish_words().search(self.low, max(0, mark.start - 24), mark.start)
                if gap is None or is_wish:
                    continue
                if gap["word"] is None or not is_thing:
                    return True
            if mark.kind in (MarkKind.PHONE, MarkKind.WHATSAPP, MarkKind.LINE, MarkKind.WECHAT):
                return False
        return self._label_after()

    def _label_after(self) -> bool:
        if self.cue(MarkKind.PHONE) or self.cue(MarkKind.WHATSAPP):
            return False
        for mark in self.after:
            if mark.kind is MarkKind.LABEL:
                between = self.low[self.end : mark.start]
                if _copula().fullmatch(between):
                    return True
                if self.limit < len(self.low):  # another number follows
                    return False
                word = key(self.low[mark.start : mark.end])
                return word.startswith(_NUMBERING_WORDS) and _near_words().fullmatch(between) is not None
            if mark.kind is not MarkKind.NUMBER:
                return False
        return False

    def cue(self, *kinds: MarkKind) -> bool:
        """Report whether a word of one of these kinds leads to the number."""
        return any(mark.kind in kinds and self.start - mark.end <= _NEAR for mark in self.before)

    def cue_after(self, *kinds: MarkKind) -> NumberMark | None:
        """Return a word of one of these kinds shortly after the number, in the same clause."""
        for mark in self.after:
            gap = self.low[self.end : mark.start]
            if len(gap) > _NEAR or (_HARD_END.search(gap) and not _same().match(self.low, mark.end)):
                return None
            if mark.kind in kinds:
                return mark
        return None

    def whatsapp(self) -> str:
        """Return the rule by which this is a WhatsApp number, or nothing."""
        for mark in reversed(self.before):
            if mark.kind is MarkKind.PHONE:
                # The phone cue may open a new clause after an earlier WhatsApp cue.
                earlier = [
                    earlier_mark.end
                    for earlier_mark in self.before
                    if earlier_mark.kind is MarkKind.WHATSAPP and earlier_mark.end <= mark.start
                ]
                is_parted = bool(earlier) and _SENTENCE_END.search(self.low, earlier[-1], mark.start + 1)
                if is_parted and not self._negated(mark):
                    return ""
            if mark.kind is MarkKind.WHATSAPP and self.start - mark.end <= _NEAR:
                return "" if self._negated(mark) else "whatsapp.cue-before"
        mark_after = self.cue_after(MarkKind.WHATSAPP)
        if mark_after is None or self._negated(mark_after):
            return ""
        # A cue between two numbers leads to the second: "tel 021 … wa 0812 …".
        is_bracketed = self.low[self.end : mark_after.start].strip() == "("
        is_last = self.limit >= len(self.low)
        is_own = is_last or is_bracketed or _PARTING.search(self.low, mark_after.end, self.limit)
        return "whatsapp.cue-after" if is_own else ""

    def _negated(self, cue: NumberMark) -> bool:
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


#: RFC 3966 writes ";ext=22"; chats write "x22" and "#22", and each language has its words.
_SIGNS = ("x", "#", ";ext=")


_extension = cache(
    lambda: re.compile(
        rf"[ \t]{{0,2}}[,;]?[ \t]{{0,2}}(?:{either([*words('numbers', 'extensions'), *_SIGNS])})"
        r"[.:=]?[ \t]{0,2}([0-9]{1,7})(?![0-9])",
        re.IGNORECASE,
    )
)


#: The signs that people put between the digits of one number.
BETWEEN = r"0-9Oo \t.()/_~\-\u2010-\u2015\u2212\u30fc\u00b7\u2022"
_RUN = re.compile(rf"[0-9][{BETWEEN}]{{5,70}}")
_FRONT = re.compile(r"(?:\+ ?\(?|\()?(?:(?<![A-Za-z])[Oo])?$")
_LAST_DIGIT = re.compile(r".*[0-9](?:[Oo]{1,3}(?![A-Za-z]))?", re.DOTALL)
_PART = re.compile(r"\+? ?\(?[0-9][0-9Oo]*")
_NUMBER_GAP = re.compile(
    r" *--+ *| +[oO] +| */ *| {2,}|\t+| +[\-~\u2010-\u2015]+ +| ?(?=\+)|(?<=[0-9]{6}) *(?=\()"
)
_BRACKETED_CODE = re.compile(r"\([1-9][0-9]{0,2}\)")
_FIGURE_OF_WORD = re.compile(r"[ \t]+[0-9]{1,2}$")  # "0412 345 678 2pm", "76 112 233 3al whatsapp"
_GROUP = re.compile(r"[0-9]+")
_MOST_PARTS = 7
_MOST_TRIES = 16

_NOT_LAST = " \t.()/_~-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\u00b7\u2022"

#: Shapes that are never a phone, however well the digits fit.
_YEAR = r"(?:19[0-9]{2}|20[0-4][0-9]|25[67][0-9])"
_DATE = (
    rf"(?:{_YEAR}(?P<a>[-./])(?:0?[1-9]|1[0-2])(?P=a)(?:0?[1-9]|[12][0-9]|3[01])"
    rf"|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    rf"|[0-9]{{1,2}}(?P<b>[-./\ ])[0-9]{{1,2}}(?P=b){_YEAR})(?![0-9])"
)
_TIME = (
    r"(?:[\ \-T.]{1,3}[0-2]?[0-9](?:[.\-\ ]?[0-5][0-9]){0,2}"
    r"(?:\ *[-\u2013]\ *[0-2]?[0-9](?:\.?[0-5][0-9])?)?)?"
)
_LEADING_DATE = re.compile(rf"{_DATE}[ ,\-]+")
_DECIMAL = re.compile(r"(?:[0-9]|[1-9][0-9]|1[0-9]{2})\.[0-9]{4,}")
_NOT_A_PHONE = re.compile(
    rf"""
    {_DATE}{_TIME}
    | (?:19|20)[0-9]{{2}}\ ?[-/\u2013]\ ?(?:19|20)[0-9]{{2}}
    | [0-9]{{1,2}}\.[0-9]{{3}}\.[0-9]{{3}}-[0-9kK]
    | [0-9]{{3}}\.[0-9]{{3}}\.[0-9]{{3}}-[0-9]{{1,2}}
    | [0-9]{{2}}\.[0-9]{{3}}\.[0-9]{{3}}/[0-9]{{4}}-[0-9]{{2}}
    | [0-9]{{2}}-[0-9]{{8}}-[0-9]
    | [0-9]{{8}}-[0-9]
    | [0-9]{{5}}-[0-9]{{7}}-[0-9]
    | 784-?[0-9]{{4}}-?[0-9]{{7}}-?[0-9]
    | [0-9]-[0-9]{{4}}-[0-9]{{5}}-[0-9]{{2}}-[0-9]
    | -?[0-9]{{1,3}}\.[0-9]{{4,}}[\ /]{{1,3}}-?[0-9]{{1,3}}\.[0-9]{{3,}}
    | -?[0-9]{{1,3}}\.[0-9]{{2,}}[\ /]*\([( \-]*[0-9]{{1,3}}\.[0-9]{{2,}}
    | [3-6][0-9]{{3}}(?P<c>[ \-])[0-9]{{4}}(?P=c)[0-9]{{4}}(?P=c)[0-9]{{4}}(?:(?P=c)?[0-9]{{1,3}})?
    | 3[47][0-9]{{2}}(?P<d>[ \-])[0-9]{{6}}(?P=d)[0-9]{{5}}
    | 97[89][- ]?[0-9][- 0-9]{{8,14}}
    """,
    re.VERBOSE,
)


_parse = rphonenumbers.parse
_is_valid = rphonenumbers.is_valid_number
_format = rphonenumbers.format_number
_E164 = rphonenumbers.PhoneNumberFormat.E164
_NATIONAL = rphonenumbers.PhoneNumberFormat.NATIONAL
country_code = cache(rphonenumbers.country_code_for_region)


class NumberForm(Enum):
    """Notation of a number; all but the first two need a cue to count."""

    INTERNATIONAL = "international"
    NATIONAL = "national"
    NO_TRUNK = "no-trunk"
    NO_PLUS = "no-plus"


class Reading(NamedTuple):
    """A valid number: its E.164 value and how it was written."""

    value: str
    form: NumberForm


class DigitRun(NamedTuple):
    """A stretch of digits and the signs between them, as it stands in the folded text."""

    start: int
    end: int
    digits: str


def _only_digits(written: str) -> str:
    """Return the digits of a number, letters O read as zeros."""
    if written.isdigit():
        return written
    if "O" in written or "o" in written:
        written = written.replace("O", "0").replace("o", "0")
    return "".join(_GROUP.findall(written))


def find_runs(text: str) -> list[DigitRun]:
    """Return stretches of at least four digits and the signs between them, in order."""
    runs = []
    for match in _RUN.finditer(text):
        start, end = match.span()
        fronted = start > 0 and (text[start - 1] in "+(Oo" or text[start - 2 : start] == "+ ")
        if not fronted and match[0].isdigit():
            runs.append(DigitRun(start, end, match[0]))
            continue
        if text[end - 1] in _NOT_LAST:
            end = start + len(match[0].rstrip(_NOT_LAST))
        if text[end - 1] in "Oo":
            last = _LAST_DIGIT.match(text, start, end)
            end = last.end() if last is not None else end
        if fronted:
            front = _FRONT.search(text, max(0, start - 4), start)
            start = front.start() if front is not None else start
        following = text[end : end + 1]
        if (
            following.isascii() and following.isalpha() and _extension().match(text, end) is None
        ):  # other scripts may go on without a space: "67です"
            figure = _FIGURE_OF_WORD.search(text, max(start, end - 4), end)
            end = figure.start() if figure is not None else end
        digits = _only_digits(text[start:end])
        if len(digits) > 3:
            runs.append(DigitRun(start, end, digits))
    return runs


def is_another_shape(written: str) -> bool:
    """Report whether the whole run is a date, an identity number, a card number or coordinates."""
    if _NOT_A_PHONE.fullmatch(written.strip("() ")) is not None:
        return True
    if len(written) < 14 or "+" in written:
        return False
    digits = [int(sign) for sign in written if "0" <= sign <= "9"]
    if not 14 <= len(digits) <= 19:
        return False  # a card number has 14 to 19 digits, the last of which is Luhn's check digit
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and digits[0] in (2, 3, 4, 5, 6)


def plain_digits(written: str) -> str:
    """Return the digits of a run, a leading plus kept, letters O read as zeros."""
    digits = _only_digits(written)
    return f"+{digits}" if written.lstrip(" (").startswith("+") else digits


def read_number(digits: str, country: str | None) -> Reading | None:
    """Return the number that these digits are in `country`, if they are a valid one."""
    try:
        number = _parse(digits, country)
    except rphonenumbers.NumberParseException:
        return None
    if not _is_valid(number):  # perhaps without the "00" of any country or the old Mexican "1"
        if digits[:2] == "00":
            return read_number("+" + digits[2:], country)
        is_old = digits[:4] == "+521" and len(digits) == 14
        return read_number("+52" + digits[4:], country) if is_old else None
    value: str = _format(number, _E164)
    is_home = country is not None and country_code(country) == number.country_code
    if digits[0] == "+" or (digits != value[1:] and digits.endswith(value[1:])):
        form = NumberForm.INTERNATIONAL
    elif digits == value[1:]:
        # In the North American plan the country code is also what one dials first at home.
        form = NumberForm.NATIONAL if number.country_code == 1 and is_home else NumberForm.NO_PLUS
    elif digits[0] == "0" or not _format(number, _NATIONAL).lstrip("(").startswith("0"):
        form = NumberForm.NATIONAL
    else:
        form = NumberForm.NO_TRUNK
    return Reading(value, form)


def numbers_in(text: str, run: DigitRun, country: str) -> list[tuple[int, int, Reading]]:
    """Return the valid numbers of a run: all of it, or its parts where several were written in a row."""
    written = text[run.start : run.end]
    if is_another_shape(written):
        return []
    date = _LEADING_DATE.match(written)
    if date is not None:
        start = run.start + date.end()
        run = DigitRun(start, run.end, _only_digits(text[start : run.end]))
        written = text[start : run.end]
    if len(run.digits) <= 18:
        whole = read_number("+" + run.digits if "+" in written[:3] else run.digits, country)
        if whole is not None:
            if whole.form is NumberForm.NO_PLUS and _BRACKETED_CODE.match(written) is not None:
                whole = Reading(whole.value, NumberForm.INTERNATIONAL)
            return [(run.start, run.end, whole)]
    if written.isdigit():
        return []
    numbers, first = [], run.start
    for gap in _NUMBER_GAP.finditer(text, run.start, run.end):
        if gap.end() > first:
            numbers += _numbers_in_piece(text, first, gap.start(), country)
            first = gap.end()
    return numbers + _numbers_in_piece(text, first, run.end, country)


def _read(written: str, country: str) -> Reading | None:
    digits = plain_digits(written)
    return read_number(digits, country) if 7 <= len(digits) <= 18 else None


def _numbers_in_piece(text: str, first: int, last: int, country: str) -> list[tuple[int, int, Reading]]:
    """Return the valid numbers of a piece, each of as many of its parts as possible."""
    parts = [(match.start(), match.end()) for match in _PART.finditer(text, first, last)]
    numbers: list[tuple[int, int, Reading]] = []
    index, tries = 0, _MOST_TRIES
    while index < len(parts) and tries > 0:
        step = 1
        for upto in range(min(len(parts), index + _MOST_PARTS), index, -1):
            start, end = parts[index][0], parts[upto - 1][1]
            written = text[start:end]
            tries -= 1
            reading = None if is_another_shape(written) else _read(written, country)
            if reading is not None and (upto - index in (1, len(parts)) or _is_separate(written, reading)):
                numbers.append((start, end, reading))
                step = upto - index
                break
        index += step
    is_whole = bool(numbers) and numbers[0][0] == parts[0][0] and numbers[0][1] == parts[-1][1]
    if len(numbers) == len(parts) or is_whole:
        return numbers
    numbers = [number for number in numbers if _is_separate(text[number[0] : number[1]], number[2])]
    return numbers or _one_among_figures(text, parts, country)


def _one_among_figures(
    text: str, parts: list[tuple[int, int]], country: str
) -> list[tuple[int, int, Reading]]:
    """Return a number in its usual groups with a short figure before or after it: "blk 12 9123 4567"."""
    if len(parts) == 2:  # one or two digits beside it: an hour, "24/7", a place in a list
        (start, end), rest = sorted(parts, key=lambda part: part[0] - part[1])
        reading = _read(text[start:end], country) if end - start >= 8 and rest[1] - rest[0] <= 2 else None
        return [(start, end, reading)] if reading is not None else []
    if not 3 <= len(parts) <= _MOST_PARTS:
        return []
    for first, last in ((1, len(parts)), (0, len(parts) - 1)):
        start, end = parts[first][0], parts[last - 1][1]
        rest = parts[0] if first else parts[-1]
        reading = _read(text[start:end], country) if rest[1] - rest[0] < 6 else None
        if reading is not None and is_grouped_as_usual(text[start:end], reading):
            return [(start, end, reading)]
    return []


def _is_separate(written: str, reading: Reading) -> bool:
    """Report whether a part of a longer run is plain enough to be a separate number."""
    if reading.form not in (NumberForm.INTERNATIONAL, NumberForm.NATIONAL):
        return False
    return written.lstrip("( ")[0] in "+0" or is_grouped_as_usual(written, reading)


def is_grouped_as_usual(written: str, reading: Reading) -> bool:
    """Report whether the digits have the groups of the number's national form: "9123 4567"."""
    usual = _GROUP.findall(_format(_parse(reading.value, None), _NATIONAL))
    return len(usual) > 1 and [*map(len, _GROUP.findall(written))] == [*map(len, usual)]


#: Groups of three behind the first are how amounts are written as well: "12 345 678", "1.500.000".
_AMOUNT = re.compile(r"[0-9]{1,3}(?:[ .][0-9]{3})+")
_BRACKETED = re.compile(r"\+? ?\([0-9 ]{1,5}\)[ \-]*[0-9]")
_PLUS = re.compile(r"\(?\+")
_HOME_CODE = re.compile(r"1[ .\-]?(?=\(?[2-9])")
#: A price, a number in a list or a time, and then what may be a number of its own: "$20.50 650-253-0000".
_FIGURE_FIRST = re.compile(r"[0-9]{1,6}(?:\.[0-9]{2})?(?:[.)]|:[0-9]{2})?[ \t]+(?=[+(0-9])")


def is_written_out(written: str, country: str) -> bool:
    """Report whether the notation is clearly a phone number of `country`, or one with a plus."""
    reading = None if is_another_shape(written) else read_number(plain_digits(written), country)
    if reading is None:
        return False
    if _PLUS.match(written) or _BRACKETED.match(written):
        return True
    if written.isdigit() or "." in written or _AMOUNT.fullmatch(written):
        return False
    return is_grouped_as_usual(written, reading) or is_grouped_as_usual(
        _HOME_CODE.sub("", written, count=1), reading
    )


_WINDOW = 64
_WRAPS = frozenset("*_~")
_MOST_RUNS = 80
_NEED_A_CUE = (NumberForm.NO_PLUS, NumberForm.NO_TRUNK)
_RULES = {form: f"phone.{form.value}" for form in NumberForm}
_LETTERS_BEFORE = re.compile(rf"[{LATIN}0-9]{{1,24}}[\-_]?$")
_LETTERS_AFTER = re.compile(rf"[\-_]?[{LATIN}]{{1,16}}")
_NUMBER_CUES = (MarkKind.PHONE, MarkKind.NUMBER, MarkKind.WHATSAPP)
_STRONG_KINDS = frozenset({MarkKind.PHONE, MarkKind.WHATSAPP, MarkKind.LINE, MarkKind.WECHAT})
_TO_WEIGH = frozenset({*_STRONG_KINDS, WISH_NEAR})
"""Beside one of these, a label right before the digits is no veto yet."""
_TELLING = frozenset({LABEL_LAST, MarkKind.WHATSAPP})
"""Without these before the digits, the kinds of the words near them usually suffice for a verdict."""
_DOUBTFUL = frozenset({LABEL_LAST, MarkKind.PHONE, MarkKind.NEGATION, NO_WHATSAPP})
"""Beside one of these, the place of a WhatsApp cue decides."""
_CUES = frozenset({MarkKind.PHONE, MarkKind.NUMBER, MarkKind.WHATSAPP})
_CLEAR_BORDERS = ("", " ", "\t", "\n", "(", "[", "=", ",")


@cache
def _cue_word() -> re.Pattern[str]:
    every = [*words("cues", "phone"), *words("cues", "number"), *words("cues", "whatsapp")]
    return re.compile(pattern(every))


_cue_last = cache(lambda: re.compile(rf"{_cue_word().pattern}[ \t]+$"))


class _Verdict(NamedTuple):
    """Verdict on a number: the rule of a WhatsApp number, "" for a phone, None for no number."""

    whatsapp: str | None
    cued: bool


_VETO = _Verdict(None, cued=False)
_NOT_JUDGED = _Verdict("", cued=False)
"""Verdict before the first run, compared by identity."""


class _Context(NamedTuple):
    """Context of a run, from the number before it to the one after."""

    first: int
    limit: int
    country: str
    extension: re.Match[str] | None


def find_phones(text: Folded, country: str) -> list[Find]:
    """Find phone and WhatsApp numbers in a text with blanked links and addresses."""
    runs = find_runs(text.text)
    if len(runs) > _MOST_RUNS:
        runs = both_ends(runs, _MOST_RUNS)
    finds: list[Find] = []
    last, length = len(runs) - 1, len(text.text)
    verdict = _NOT_JUDGED
    for index, run in enumerate(runs):
        if len(run[2]) > 6:
            before = runs[index - 1][1] if index else 0
            after = runs[index + 1][0] if index < last else length
            context = _Context(before, after, country, _extension().match(text.low, run[1]))
            # "0812 … or 0813 …": the second number shares the verdict on the first
            is_joined = index and verdict is not _NOT_JUDGED and _joint().fullmatch(text.low, before, run[0])
            if not is_joined:
                verdict = _judge_run(text, run, context)
            if verdict is _VETO and len(run[2]) < len(text.text[run[0] : run[1]]):
                # Without a price at its start, the rest may be a phone number.
                near = kinds_near(text.low[max(before, run.start - _WINDOW) : run.start])
                figure = _FIGURE_FIRST.match(text.text, run.start, run.end)
                if figure is not None and SUM_LAST in near and LABEL_LAST not in near:
                    rest = text.text[figure.end() : run.end]
                    if is_written_out(rest, country):
                        run = DigitRun(figure.end(), run.end, plain_digits(rest).lstrip("+"))
                        verdict = _judge_run(text, run, context)
            if verdict.whatsapp is None:
                continue
            field = Field.WHATSAPP if verdict.whatsapp else Field.PHONE
            for start, end, reading in numbers_in(text.text, run, country):
                if verdict.cued or reading.form not in _NEED_A_CUE:
                    sure = verdict.cued or reading.form is NumberForm.INTERNATIONAL
                    rule = verdict.whatsapp or _RULES[reading.form]
                    finds.append(Find(field, reading.value, start, end, 0.95 if sure else 0.85, rule))
            extension = context.extension
            if extension is not None and finds and finds[-1].end == run.end:
                finds[-1] = finds[-1]._replace(end=extension.end(), extension=extension[1])
    return finds


_joint = cache(
    lambda: re.compile(rf"[ \t]*(?:[,/&+\u3001\u060c\uff0c]|{pattern(words('words', 'and'))})?[ \t]*")
)
"""Pattern that joins two numbers of the same kind: "or", a slash, a comma."""


def _is_excluded(low: str, run: DigitRun, before: frozenset[int], country: str) -> bool:
    """Report whether the text right before the digits rules out a phone."""
    if LABEL_LAST in before and before.isdisjoint(_TO_WEIGH):
        return True
    if SUM_LAST not in before and LETTER_LAST not in before:
        return False
    if (low[run.start] in "+(" or not low[run.start - 1].isalnum()) and is_written_out(
        low[run.start : run.end], country
    ):
        return False
    return _is_part_of_more(low, run.start, before)


def _is_part_of_more(low: str, start: int, before: frozenset[int]) -> bool:
    """Report whether a currency sign, or letters that touch the digits, make them part of something else."""
    if low[start] in "0+" and low[max(0, start - 3) : start].endswith("@ "):
        return False  # no price begins with a zero
    if not before.isdisjoint(_STRONG_KINDS) and _cue_last().search(low, max(0, start - 24), start):
        return False
    if low[start - 1] in " \t" and LETTER_LAST not in before and "#" not in low[max(0, start - 2) : start]:
        return True
    # letters or a sign right before the digits make them part of something else
    plain = low[max(0, start - 26) : start].rstrip()
    if plain[-1:] == "#":
        return _cue_word().search(plain[:-1].rstrip()[-8:]) is None
    letters = _LETTERS_BEFORE.search(plain)
    return letters is None or _cue_word().search(letters[0]) is None


def _judge_run(text: Folded, run: DigitRun, context: _Context) -> _Verdict:
    """Judge a run by the kinds of words near it, and by their places if the kinds do not suffice."""
    start, end, digits = run
    if start and text.low[start - 1] in _WRAPS and text.low[end : end + 1] == text.low[start - 1]:
        start, end = start - 1, end + 1  # bold or italic, as chat programs write it
    first = context.first if start - context.first < _WINDOW else start - _WINDOW
    last = context.limit if context.limit - end < _WINDOW else end + _WINDOW
    before = kinds_near(text.low[first:start]) if start > first else _NONE
    if before and _is_excluded(text.low, DigitRun(start, end, digits), before, context.country):
        return _VETO
    after = kinds_near(text.low[end:last]) if last > end else _NONE
    may_be_quantity = digits[0] != "0" and before.isdisjoint(_STRONG_KINDS)
    has_unit = UNIT_FIRST in after and (may_be_quantity or text.low[end] not in " \t")
    letters = _LETTERS_AFTER.match(text.low, end) if LETTER_FIRST in after else None
    is_glued = has_unit or (letters is not None and _cue_word().search(letters[0]) is None)
    is_figure = before.isdisjoint(_CUES) and (
        _DECIMAL.fullmatch(text.text[run[0] : run[1]]) is not None
        or (
            text.text[run.start - 1 : run.start] == "-"
            and text.text[run.start - 2 : run.start - 1] in _CLEAR_BORDERS
            and text.text[run.start : run.end].isdigit()
        )
    )
    if (is_glued and context.extension is None) or is_figure:
        return _VETO
    if before.isdisjoint(_TELLING) and MarkKind.WHATSAPP not in after:
        if MarkKind.LABEL not in after or MarkKind.PHONE in before:
            return _Verdict("", cued=not (before.isdisjoint(_CUES) and after.isdisjoint(_CUES)))
    elif MarkKind.WHATSAPP in before and before.isdisjoint(_DOUBTFUL):
        return _Verdict("whatsapp.cue-before", cued=True)
    marks_before = find_marks(text.low, first, start) if before else []
    marks_after = find_marks(text.low, end, last) if after else []
    around = Surroundings(text.low, start, end, marks_before, marks_after, context.limit, context.country)
    if around.label():
        return _VETO
    whatsapp = around.whatsapp()
    cued = bool(whatsapp) or around.cue(*_NUMBER_CUES) or around.cue_after(*_NUMBER_CUES) is not None
    return _Verdict(whatsapp, cued)
