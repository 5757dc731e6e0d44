"""Extensions: the few digits behind a number that ring one desk, as in "03 331 6005 ext. 22"."""

import re
from enum import Enum
from functools import cache
from typing import NamedTuple

import rphonenumbers

from contatto.capture.fields.words import either, words

#: RFC 3966 writes ";ext=22"; chats write "x22" and "#22", and each language has its words.
_SIGNS = ("x", "#", ";ext=")


class Extension(NamedTuple):
    """The digits of an extension, and where they end in the text."""

    digits: str
    end: int


@cache
def _extension() -> re.Pattern[str]:
    written = either([*words("numbers", "extensions"), *_SIGNS])
    return re.compile(
        rf"[ \t]{{0,2}}[,;]?[ \t]{{0,2}}(?:{written})[.:=]?[ \t]{{0,2}}([0-9]{{1,7}})(?![0-9])", re.IGNORECASE
    )


def extension_after(text: str, end: int) -> Extension | None:
    """The extension of a number that ends here."""
    match = _extension().match(text, end)
    return Extension(match[1], match.end()) if match is not None else None


#: The signs that people put between the digits of one number.
BETWEEN = r"0-9Oo \t.()/_~\-\u2010-\u2015\u2212\u30fc\u00b7\u2022"
_RUN = re.compile(rf"[0-9][{BETWEEN}]{{5,70}}")
_FRONT = re.compile(r"(?:\+ ?\(?|\()?(?:(?<![A-Za-z])[Oo])?$")
_LAST_DIGIT = re.compile(r".*[0-9](?:[Oo]{1,3}(?![A-Za-z]))?", re.DOTALL)
_PART = re.compile(r"\+? ?\(?[0-9][0-9Oo]*")
_STRONG = re.compile(
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


class Run(NamedTuple):
    """A stretch of digits and the signs between them, as it stands in the folded text."""

    start: int
    end: int
    digits: str


def _only_digits(written: str) -> str:
    """The digits of what is written, letters O read as zeros."""
    if written.isdigit():
        return written
    if "O" in written or "o" in written:
        written = written.replace("O", "0").replace("o", "0")
    return "".join(_GROUP.findall(written))


def find_runs(text: str) -> list[Run]:
    """Stretches of at least four digits and a few signs, in order."""
    runs = []
    for match in _RUN.finditer(text):
        start, end = match.span()
        fronted = start > 0 and (text[start - 1] in "+(Oo" or text[start - 2 : start] == "+ ")
        if not fronted and match[0].isdigit():
            runs.append(Run(start, end, match[0]))
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
            following.isascii() and following.isalpha() and extension_after(text, end) is None
        ):  # other scripts may go on without a space: "67です"
            figure = _FIGURE_OF_WORD.search(text, max(start, end - 4), end)
            end = figure.start() if figure is not None else end
        digits = _only_digits(text[start:end])
        if len(digits) > 3:
            runs.append(Run(start, end, digits))
    return runs


def is_decimal(written: str) -> bool:
    """Report whether a run is one number with decimals; with a cue it still counts as a phone."""
    return _DECIMAL.fullmatch(written) is not None


def is_another_shape(written: str) -> bool:
    """Report whether the whole run is a date, an identity number, a card, a coordinate …."""
    if _NOT_A_PHONE.fullmatch(written.strip("() ")) is not None:
        return True
    return len(written) >= 14 and "+" not in written and _is_card(written)


def _is_card(written: str) -> bool:
    digits = [int(sign) for sign in written if "0" <= sign <= "9"]
    if not 14 <= len(digits) <= 19:
        return False
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and digits[0] in (2, 3, 4, 5, 6)


def plain_digits(written: str) -> str:
    """The digits of a run, a leading plus kept, letters O read as zeros."""
    digits = _only_digits(written)
    return f"+{digits}" if written.lstrip(" (").startswith("+") else digits


def read_number(digits: str, country: str | None) -> Reading | None:
    """The number that these digits are in `country`, if they are a valid one."""
    try:
        number = _parse(digits, country)
    except rphonenumbers.NumberParseException:
        return None
    if not _is_valid(number):
        meant = _without_extra(digits)
        return read_number(meant, country) if meant else None
    value: str = _format(number, _E164)
    is_home = country is not None and country_code(country) == number.country_code
    return Reading(value, _form(digits, value, number, is_home=is_home))


def _without_extra(digits: str) -> str:
    """The number that is meant where one is written with the "00" of any country or the old Mexican "1"."""
    if digits[:2] == "00":
        return "+" + digits[2:]
    return "+52" + digits[4:] if digits[:4] == "+521" and len(digits) == 14 else ""


def _form(digits: str, value: str, number: rphonenumbers.PhoneNumber, *, is_home: bool) -> NumberForm:
    if digits[0] == "+":
        return NumberForm.INTERNATIONAL
    if digits == value[1:]:
        # In the North American plan the country code is also what one dials first at home.
        return NumberForm.NATIONAL if number.country_code == 1 and is_home else NumberForm.NO_PLUS
    if digits.endswith(value[1:]):
        return NumberForm.INTERNATIONAL
    if digits[0] == "0":
        return NumberForm.NATIONAL
    usual = _format(number, _NATIONAL)
    return NumberForm.NO_TRUNK if usual.lstrip("(").startswith("0") else NumberForm.NATIONAL


def numbers_in(text: str, run: Run, country: str) -> list[tuple[int, int, Reading]]:
    """The valid numbers of a run: all of it, or its parts where several were written in a row."""
    written = text[run.start : run.end]
    if is_another_shape(written):
        return []
    date = _LEADING_DATE.match(written)
    if date is not None:
        start = run.start + date.end()
        run = Run(start, run.end, _only_digits(text[start : run.end]))
        written = text[start : run.end]
    if len(run.digits) <= 18:
        whole = read_number("+" + run.digits if "+" in written[:3] else run.digits, country)
        if whole is not None:
            if whole.form is NumberForm.NO_PLUS and _BRACKETED_CODE.match(written) is not None:
                whole = Reading(whole.value, NumberForm.INTERNATIONAL)
            return [(run.start, run.end, whole)]
    if written.isdigit():
        return []
    numbers = []
    start = run.start
    for piece in _pieces(written):
        numbers += _numbers_in_piece(text, start + piece[0], start + piece[1], country)
    return numbers


def _pieces(written: str) -> list[tuple[int, int]]:
    pieces, first = [], 0
    for gap in _STRONG.finditer(written):
        if gap.end() > first:
            pieces.append((first, gap.start()))
            first = gap.end()
    pieces.append((first, len(written)))
    return pieces


def _read(written: str, country: str) -> Reading | None:
    digits = plain_digits(written)
    return read_number(digits, country) if 7 <= len(digits) <= 18 else None


def _numbers_in_piece(text: str, first: int, last: int, country: str) -> list[tuple[int, int, Reading]]:
    parts = [(match.start(), match.end()) for match in _PART.finditer(text, first, last)]
    match: list[tuple[int, int, Reading]] = []
    index, tries = 0, _MOST_TRIES
    while index < len(parts) and tries > 0:
        step = 1
        for upto in range(min(len(parts), index + _MOST_PARTS), index, -1):
            start, end = parts[index][0], parts[upto - 1][1]
            written = text[start:end]
            tries -= 1
            reading = None if is_another_shape(written) else _read(written, country)
            if reading is not None and (upto - index in (1, len(parts)) or _stands_alone(written, reading)):
                match.append((start, end, reading))
                step = upto - index
                break
        index += step
    if len(match) == len(parts) or (match and match[0][0] == parts[0][0] and match[0][1] == parts[-1][1]):
        return match
    match = [number for number in match if _stands_alone(text[number[0] : number[1]], number[2])]
    return match or _one_among_figures(text, parts, country)


def _one_among_figures(
    text: str, parts: list[tuple[int, int]], country: str
) -> list[tuple[int, int, Reading]]:
    """A number in its usual groups with a short figure before or after it: "blk 12 9123 4567"."""
    if len(parts) == 2:
        return _one_beside_a_figure(text, parts, country)
    if not 3 <= len(parts) <= _MOST_PARTS:
        return []
    for first, last in ((1, len(parts)), (0, len(parts) - 1)):
        start, end = parts[first][0], parts[last - 1][1]
        rest = parts[0] if first else parts[-1]
        reading = _read(text[start:end], country) if rest[1] - rest[0] < 6 else None
        if reading is not None and is_grouped_as_usual(text[start:end], reading):
            return [(start, end, reading)]
    return []


def _one_beside_a_figure(
    text: str, parts: list[tuple[int, int]], country: str
) -> list[tuple[int, int, Reading]]:
    """A number without gaps beside one or two digits: an hour, "24/7", a place in a list."""
    (start, end), rest = sorted(parts, key=lambda part: part[0] - part[1])
    reading = _read(text[start:end], country) if end - start >= 8 and rest[1] - rest[0] <= 2 else None
    return [(start, end, reading)] if reading is not None else []


def _stands_alone(written: str, reading: Reading) -> bool:
    """Report whether a part of a longer run is plain enough to be a separate number."""
    if reading.form not in (NumberForm.INTERNATIONAL, NumberForm.NATIONAL):
        return False
    return written.lstrip("( ")[0] in "+0" or is_grouped_as_usual(written, reading)


def is_grouped_as_usual(written: str, reading: Reading) -> bool:
    """Report whether the digits have the groups of the number's national form: "9123 4567"."""
    usual = _GROUP.findall(_format(_parse(reading.value, None), _NATIONAL))
    return len(usual) > 1 and [*map(len, _GROUP.findall(written))] == [*map(len, usual)]
