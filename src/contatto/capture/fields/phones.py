"""Phone and WhatsApp numbers, by notation (plus, bracketed code, national groups) and by cues."""

import re
from functools import cache
from typing import NamedTuple

from contatto.capture.fields.context import (
    LABEL_LAST,
    LETTER_FIRST,
    LETTER_LAST,
    NO_WHATSAPP,
    SUM_LAST,
    UNIT_FIRST,
    WISH,
    MarkKind,
    Surroundings,
    find_marks,
    kinds_near,
)
from contatto.capture.fields.folding import Find, Folded, both_ends
from contatto.capture.fields.numbers import (
    Extension,
    NumberForm,
    Run,
    extension_after,
    find_runs,
    is_another_shape,
    is_decimal,
    is_grouped_as_usual,
    numbers_in,
    plain_digits,
    read_number,
)
from contatto.capture.fields.words import LATIN, pattern, words
from contatto.capture.model import Field

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


def without_figure(text: str, run: Run, country: str) -> Run:
    """The run without the figure before it, if what follows is written out; else the run as it is."""
    figure = _FIGURE_FIRST.match(text, run.start, run.end)
    if figure is None or not is_written_out(text[figure.end() : run.end], country):
        return run
    rest = text[figure.end() : run.end]
    return Run(figure.end(), run.end, plain_digits(rest).lstrip("+"))


_WINDOW = 64
_WRAPS = frozenset("*_~")
_MOST_RUNS = 80
_NEED_A_CUE = (NumberForm.NO_PLUS, NumberForm.NO_TRUNK)
_RULES = {form: f"phone.{form.value}" for form in NumberForm}
_LETTERS_BEFORE = re.compile(rf"[{LATIN}0-9]{{1,24}}[\-_]?$")
_LETTERS_AFTER = re.compile(rf"[\-_]?[{LATIN}]{{1,16}}")
_NUMBER_CUES = (MarkKind.PHONE, MarkKind.NUMBER, MarkKind.WHATSAPP)
_STRONG = frozenset({MarkKind.PHONE, MarkKind.WHATSAPP, MarkKind.LINE, MarkKind.WECHAT})
_TO_WEIGH = frozenset({*_STRONG, WISH})
_TELLING = frozenset({LABEL_LAST, MarkKind.WHATSAPP})
_DOUBTFUL = frozenset({LABEL_LAST, MarkKind.PHONE, MarkKind.NEGATION, NO_WHATSAPP})
_CUES = frozenset({MarkKind.PHONE, MarkKind.NUMBER, MarkKind.WHATSAPP})
_NONE: frozenset[int] = frozenset()
_ALONE = ("", " ", "\t", "\n", "(", "[", "=", ",")


@cache
def _cue_word() -> re.Pattern[str]:
    every = [*words("cues", "phone"), *words("cues", "number"), *words("cues", "whatsapp")]
    return re.compile(pattern(every))


@cache
def _cue_last() -> re.Pattern[str]:
    return re.compile(rf"{_cue_word().pattern}[ \t]+$")


class _Verdict(NamedTuple):
    """Classify a number by its context: nothing (None), a phone ("") or WhatsApp (the rule)."""

    whatsapp: str | None
    cued: bool


_VETO = _Verdict(None, cued=False)
_NO_NUMBER = _Verdict("", cued=False)


class _Place(NamedTuple):
    """Return the context span of a run: from the number before it to the one after it."""

    first: int
    limit: int
    country: str
    extension: Extension | None


def find_phones(text: Folded, country: str) -> list[Find]:
    """Phone and WhatsApp numbers of a text in which links and addresses are already blanked."""
    runs = find_runs(text.text)
    if len(runs) > _MOST_RUNS:
        runs = both_ends(runs, _MOST_RUNS)
    finds: list[Find] = []
    last, length = len(runs) - 1, len(text.text)
    verdict = _NO_NUMBER
    for index, run in enumerate(runs):
        if len(run[2]) > 6:
            before = runs[index - 1][1] if index else 0
            after = runs[index + 1][0] if index < last else length
            place = _Place(before, after, country, extension_after(text.low, run[1]))
            is_joined = index and verdict is not _NO_NUMBER and _joint().fullmatch(text.low, before, run[0])
            if not is_joined:
                verdict = _judge_run(text, run, place)
            if verdict is _VETO and len(run[2]) < len(text.text[run[0] : run[1]]):
                run, verdict = _judge_rest(text, run, place)
            finds += _finds_of_run(text, run, place, verdict)
    return finds


@cache
def _joint() -> re.Pattern[str]:
    """Return the pattern that joins two numbers of the same kind: "or", a slash, a comma."""
    return re.compile(rf"[ \t]*(?:[,/&+\u3001\u060c\uff0c]|{pattern(words('words', 'and'))})?[ \t]*")


def _is_glued_before(low: str, start: int) -> bool:
    """Report whether letters or a sign right before the digits make them part of something else."""
    plain = low[max(0, start - 26) : start].rstrip()
    if plain[-1:] == "#":
        return _cue_word().search(plain[:-1].rstrip()[-8:]) is None
    letters = _LETTERS_BEFORE.search(plain)
    return letters is None or _cue_word().search(letters[0]) is None


def _is_parted(low: str, start: int) -> bool:
    """Report whether a sign separates the number from a word, as in "office-03 331 6005" or "b+64 3 …"."""
    return low[start] in "+(" or not low[start - 1].isalnum()


def _is_glued_after(low: str, end: int, after: frozenset[int], *, quantity: bool) -> bool:
    """Report whether letters touch the digits, or a unit follows a possible quantity."""
    if UNIT_FIRST in after and (quantity or low[end] not in " \t"):
        return True
    if LETTER_FIRST not in after:
        return False
    tail = _LETTERS_AFTER.match(low, end)
    return tail is not None and _cue_word().search(tail[0]) is None


def _judge_rest(text: Folded, run: Run, place: _Place) -> tuple[Run, _Verdict]:
    """A run that is no phone may be one without the price that it begins with."""
    before = kinds_near(text.low[max(place.first, run.start - _WINDOW) : run.start])
    rest = without_figure(text.text, run, place.country) if SUM_LAST in before else run
    return (run, _VETO) if rest is run or LABEL_LAST in before else (rest, _judge_run(text, rest, place))


def _is_excluded(low: str, run: Run, before: frozenset[int], country: str) -> bool:
    """Report whether the text right before the digits rules out a phone."""
    if LABEL_LAST in before and before.isdisjoint(_TO_WEIGH):
        return True
    if SUM_LAST not in before and LETTER_LAST not in before:
        return False
    if _is_parted(low, run.start) and is_written_out(low[run.start : run.end], country):
        return False
    return _is_part_of_more(low, run.start, before)


def _is_part_of_more(low: str, start: int, before: frozenset[int]) -> bool:
    """Report whether a currency sign, or letters that touch the digits, make them part of something else."""
    if low[start] in "0+" and low[max(0, start - 3) : start].endswith("@ "):
        return False  # no price begins with a zero
    if not before.isdisjoint(_STRONG) and _cue_last().search(low, max(0, start - 24), start):
        return False
    if low[start - 1] in " \t" and LETTER_LAST not in before and "#" not in low[max(0, start - 2) : start]:
        return True
    return _is_glued_before(low, start)


def _judge_run(text: Folded, run: Run, place: _Place) -> _Verdict:
    start, end, digits = run
    if start and text.low[start - 1] in _WRAPS and text.low[end : end + 1] == text.low[start - 1]:
        start, end = start - 1, end + 1  # bold or italic, as chat programs write it
    first = place.first if start - place.first < _WINDOW else start - _WINDOW
    last = place.limit if place.limit - end < _WINDOW else end + _WINDOW
    before = kinds_near(text.low[first:start]) if start > first else _NONE
    if before and _is_excluded(text.low, Run(start, end, digits), before, place.country):
        return _VETO
    after = kinds_near(text.low[end:last]) if last > end else _NONE
    if (
        after
        and place.extension is None
        and _is_glued_after(text.low, end, after, quantity=digits[0] != "0" and before.isdisjoint(_STRONG))
    ):
        return _VETO
    if before.isdisjoint(_CUES) and (is_decimal(text.text[run[0] : run[1]]) or _is_negative(text.text, run)):
        return _VETO
    if before.isdisjoint(_TELLING) and MarkKind.WHATSAPP not in after:
        if MarkKind.LABEL not in after or MarkKind.PHONE in before:
            return _Verdict("", cued=not (before.isdisjoint(_CUES) and after.isdisjoint(_CUES)))
    elif MarkKind.WHATSAPP in before and before.isdisjoint(_DOUBTFUL):
        return _Verdict("whatsapp.cue-before", cued=True)
    marks_before = find_marks(text.low, first, start) if before else []
    marks_after = find_marks(text.low, end, last) if after else []
    around = Surroundings(text.low, start, end, marks_before, marks_after, place.limit, place.country)
    return _judge_by_marks(around)


def _is_negative(text: str, run: Run) -> bool:
    """Report whether a minus without a word stands right before unspaced digits: "-2208960000"."""
    return (
        text[run.start - 1 : run.start] == "-"
        and text[run.start - 2 : run.start - 1] in _ALONE
        and (text[run.start : run.end].isdigit())
    )


def _judge_by_marks(around: Surroundings) -> _Verdict:
    if around.label():
        return _VETO
    whatsapp = around.whatsapp()
    cued = bool(whatsapp) or around.cue(*_NUMBER_CUES) or around.cue_after(*_NUMBER_CUES) is not None
    return _Verdict(whatsapp, cued)


def _finds_of_run(text: Folded, run: Run, place: _Place, verdict: _Verdict) -> list[Find]:
    if verdict.whatsapp is None:
        return []
    field = Field.WHATSAPP if verdict.whatsapp else Field.PHONE
    finds = []
    for start, end, reading in numbers_in(text.text, run, place.country):
        if not verdict.cued and reading.form in _NEED_A_CUE:
            continue
        sure = verdict.cued or reading.form is NumberForm.INTERNATIONAL
        rule = verdict.whatsapp or _RULES[reading.form]
        finds.append(Find(field, reading.value, start, end, 0.95 if sure else 0.85, rule))
    if place.extension is not None and finds and finds[-1].end == run.end:
        finds[-1] = finds[-1]._replace(end=place.extension.end, extension=place.extension.digits)
    return finds
