"""Phone and WhatsApp: numbers with their cues, without what their labels say they are not."""

import re
from functools import cache

from contatto.capture.fields.context import (
    LABEL_LAST,
    LETTER_FIRST,
    LETTER_LAST,
    SUM_LAST,
    UNIT_FIRST,
    Kind,
    Surroundings,
    find_marks,
    kinds_near,
)
from contatto.capture.fields.folding import Find, Folded
from contatto.capture.fields.numbers import Form, Run, find_runs, is_decimal, numbers_in
from contatto.capture.fields.words import LATIN, pattern, words
from contatto.capture.model import Field

_WINDOW = 90
_LETTERS_BEFORE = re.compile(rf"[{LATIN}0-9]{{1,24}}[\-_]?$")
_LETTERS_AFTER = re.compile(rf"[\-_]?[{LATIN}]{{1,16}}")
_NUMBER_CUES = (Kind.PHONE, Kind.NUMBER, Kind.WHATSAPP)
_STRONG = frozenset({Kind.PHONE, Kind.WHATSAPP, Kind.LINE, Kind.WECHAT})
_TELLING = frozenset({LABEL_LAST, Kind.LABEL, Kind.WHATSAPP})
_DOUBTFUL = frozenset({Kind.LABEL, Kind.PHONE, Kind.NEGATION})
_CUES = frozenset({Kind.PHONE, Kind.NUMBER, Kind.WHATSAPP})
_NONE: frozenset[int] = frozenset()


@cache
def _cue_word() -> re.Pattern[str]:
    every = [*words("cues", "phone"), *words("cues", "number"), *words("cues", "whatsapp")]
    return re.compile(pattern(every))


def find_phones(text: Folded, country: str) -> list[Find]:
    """Phone and WhatsApp numbers of a text in which links and addresses are already blanked."""
    runs = find_runs(text.text)
    finds: list[Find] = []
    last, length = len(runs) - 1, len(text.text)
    for index, run in enumerate(runs):
        if len(run[2]) > 6:
            before = runs[index - 1][1] if index else 0
            after = runs[index + 1][0] if index < last else length
            finds += _numbers_of_run(text, run, (before, after), country)
    return finds


def _is_glued_before(low: str, start: int) -> bool:
    """Whether the letters or the sign right before the digits make them part of something else."""
    plain = low[max(0, start - 26) : start].rstrip()
    if plain[-1:] == "#":
        return _cue_word().search(plain[:-1].rstrip()[-8:]) is None
    letters = _LETTERS_BEFORE.search(plain)
    return letters is None or _cue_word().search(letters[0]) is None


def _is_glued_after(low: str, end: int) -> bool:
    tail = _LETTERS_AFTER.match(low, end)
    return tail is not None and _cue_word().search(tail[0]) is None


def _is_excluded(low: str, start: int, before: frozenset[int]) -> bool:
    """Whether what stands before the digits says at once that they are no phone."""
    if LABEL_LAST in before and not before & _STRONG:
        return True
    if SUM_LAST in before or LETTER_LAST in before:
        if (
            low[start - 1] in " \t"
            and LETTER_LAST not in before
            and "#" not in low[max(0, start - 2) : start]
        ):
            return True
        return _is_glued_before(low, start)
    return False


def _numbers_of_run(text: Folded, run: Run, neighbours: tuple[int, int], country: str) -> list[Find]:
    start, end, _ = run
    first, last = neighbours
    first = first if start - first < _WINDOW else start - _WINDOW
    last = last if last - end < _WINDOW else end + _WINDOW
    before = kinds_near(text.low[first:start]) if start > first else _NONE
    if before and _is_excluded(text.low, start, before):
        return []
    after = kinds_near(text.low[end:last]) if last > end else _NONE
    if after and (UNIT_FIRST in after or (LETTER_FIRST in after and _is_glued_after(text.low, end))):
        return []
    if not before & _CUES and is_decimal(text.text[start:end]):
        return []
    numbers = numbers_in(text.text, run, country)
    if not numbers:
        return []
    whatsapp, cued = _judge(text, run, (first, last, neighbours[1]), (before, after))
    if whatsapp is None:
        return []
    field = Field.WHATSAPP if whatsapp else Field.PHONE
    finds = []
    for start, end, reading in numbers:
        if not cued and reading.form in (Form.NO_PLUS, Form.NO_TRUNK):
            continue
        sure = cued or reading.form is Form.INTERNATIONAL
        rule = whatsapp or f"phone.{reading.form.value}"
        finds.append(Find(field, reading.value, start, end, 0.95 if sure else 0.85, rule))
    return finds


def _judge(
    text: Folded, run: Run, window: tuple[int, int, int], kinds: tuple[frozenset[int], frozenset[int]]
) -> tuple[str | None, bool]:
    """What the words round a run make of it: nothing (None), a phone ("") or WhatsApp (its rule); if cued."""
    first, last, following = window
    before, after = kinds
    if not before & _TELLING and Kind.WHATSAPP not in after:
        if Kind.LABEL not in after or Kind.PHONE in before:
            return "", bool(before & _CUES or after & _CUES)
    elif Kind.WHATSAPP in before and not before & _DOUBTFUL:
        return "whatsapp.cue-before", True
    around = Surroundings(
        text.low,
        run.start,
        run.end,
        find_marks(text.low, first, run.start) if before else [],
        find_marks(text.low, run.end, last) if after else [],
        following,
    )
    if around.label():
        return None, False
    whatsapp = around.whatsapp()
    return whatsapp, bool(whatsapp) or around.cue(*_NUMBER_CUES) or around.cue_after(
        *_NUMBER_CUES
    ) is not None
