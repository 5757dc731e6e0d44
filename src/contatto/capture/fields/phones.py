"""Phone and WhatsApp: numbers with their cues, without what their labels say they are not."""

import re
from functools import cache

from contatto.capture.fields.context import LABEL_LAST, Kind, Surroundings, find_marks, kinds_near
from contatto.capture.fields.folding import Find, Folded
from contatto.capture.fields.numbers import Form, Run, find_runs, numbers_in
from contatto.capture.fields.words import LATIN, pattern, words
from contatto.capture.model import Field

_WINDOW = 90
_LETTERS_BEFORE = re.compile(rf"[{LATIN}0-9]{{1,24}}[\-/_.]?$")
_LETTERS_AFTER = re.compile(rf"[\-_]?[{LATIN}]{{1,16}}")
_LAST_WORD = re.compile(rf"[{LATIN}]+$")
_SIGNS_BEFORE = frozenset("#*$€£¥₦₹₱฿₫៛₪﷼%@&=_")
_MASKS = frozenset("*%•")
_NUMBER_CUES = (Kind.PHONE, Kind.NUMBER, Kind.WHATSAPP)
_STRONG = frozenset({Kind.PHONE, Kind.WHATSAPP, Kind.LINE, Kind.WECHAT})
_TELLING = frozenset({LABEL_LAST, Kind.LABEL, Kind.WHATSAPP})
_DOUBTFUL = frozenset({Kind.LABEL, Kind.PHONE, Kind.NEGATION})
_CUES = frozenset({Kind.PHONE, Kind.NUMBER})
_NONE: frozenset[int] = frozenset()


@cache
def _cue_word() -> re.Pattern[str]:
    every = [*words("cues", "phone"), *words("cues", "number"), *words("cues", "whatsapp")]
    return re.compile(pattern(every))


@cache
def _unit() -> re.Pattern[str]:
    return re.compile(rf"[ \t]?(?:[%°²³]|{pattern(words('numbers', 'units'))})")


@cache
def _currencies() -> tuple[frozenset[str], tuple[str, ...]]:
    """Words for money before a sum: those of scripts with spaces, and those that may be glued to others."""
    every = words("numbers", "currencies")
    spaced = frozenset(word for word in every if _LAST_WORD.search(word))
    return spaced, tuple(word for word in every if word not in spaced)


def find_phones(text: Folded, country: str) -> list[Find]:
    """Phone and WhatsApp numbers of a text in which links and addresses are already blanked."""
    runs = find_runs(text.text)
    finds: list[Find] = []
    for index, run in enumerate(runs):
        if len(run.digits) > 6 and not _is_part_of_a_word(text.low, run):
            before = runs[index - 1].end if index else 0
            after = runs[index + 1].start if index + 1 < len(runs) else len(text.text)
            finds += _numbers_of_run(text, run, (before, after), country)
    return finds


def _is_part_of_a_word(low: str, run: Run) -> bool:
    """Whether letters, signs or units are written onto the digits, so that they are no number alone."""
    return _is_glued_before(low, run.start) or _is_glued_after(low, run.end)


def _is_glued_before(low: str, start: int) -> bool:
    if not start:
        return False
    head = low[max(0, start - 26) : start]
    plain = head.rstrip()
    if not plain:
        return False
    last = plain[-1]
    if last == "#" and _cue_word().search(plain[:-1].rstrip()[-8:]):
        return False
    if last in _SIGNS_BEFORE or (last == "," and plain[-2:-1].isdigit()):
        return True
    if len(plain) == len(head) and (last.isalnum() or last in "-/_."):
        letters = _LETTERS_BEFORE.search(head)
        if letters is not None and last not in "./" and not _cue_word().search(letters[0]):
            return True
    return _is_sum(plain.rstrip(".: "))


def _is_sum(head: str) -> bool:
    spaced, glued = _currencies()
    word = _LAST_WORD.search(head)
    return (word is not None and word[0] in spaced) or head.endswith(glued)


def _is_glued_after(low: str, end: int) -> bool:
    if end >= len(low):
        return False
    if low[end] in _MASKS or _unit().match(low, end):
        return True
    tail = _LETTERS_AFTER.match(low, end)
    return tail is not None and not _cue_word().search(tail[0])


def _numbers_of_run(text: Folded, run: Run, neighbours: tuple[int, int], country: str) -> list[Find]:
    first, last = max(neighbours[0], run.start - _WINDOW), min(neighbours[1], run.end + _WINDOW)
    before = kinds_near(text.low[first : run.start]) if run.start > first else _NONE
    if LABEL_LAST in before and not before & _STRONG:
        return []
    numbers = numbers_in(text.text, run, country)
    if not numbers:
        return []
    whatsapp, cued = _judge(text, run, (first, last, neighbours[1]), before)
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
    text: Folded, run: Run, window: tuple[int, int, int], before: frozenset[int]
) -> tuple[str | None, bool]:
    """What the words round a run make of it: nothing (None), a phone ("") or WhatsApp (its rule); if cued."""
    first, last, following = window
    after = kinds_near(text.low[run.end : last]) if last > run.end else _NONE
    if not before & _TELLING and Kind.WHATSAPP not in after:
        if Kind.LABEL not in after or Kind.PHONE in before:
            return "", bool(before & _CUES or after & _CUES)
    elif Kind.WHATSAPP in before and not before & _DOUBTFUL:
        return "whatsapp.cue-before", True
    around = Surroundings(
        text.low,
        run.start,
        run.end,
        find_marks(text.low, first, run.start),
        find_marks(text.low, run.end, last),
        following < len(text.text),
    )
    if around.label():
        return None, False
    whatsapp = around.whatsapp()
    return whatsapp, bool(whatsapp) or around.cue(*_NUMBER_CUES) or around.cue_after(
        *_NUMBER_CUES
    ) is not None
