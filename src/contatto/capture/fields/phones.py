"""Phone and WhatsApp: numbers with their cues, without what their labels say they are not."""

import re
from functools import cache

from contatto.capture.fields.context import Kind, Surroundings, find_marks
from contatto.capture.fields.folding import Find, Folded
from contatto.capture.fields.numbers import Form, Reading, Run, find_runs, numbers_in
from contatto.capture.fields.words import LATIN, pattern, words
from contatto.capture.model import Field

_WINDOW = 90
_LETTERS_BEFORE = re.compile(rf"[{LATIN}0-9]{{1,24}}[\-/_.]?$")
_LETTERS_AFTER = re.compile(rf"[\-_]?[{LATIN}]{{1,16}}")
_SIGN_BEFORE = re.compile(r"(?:[#*$€£¥₦₹₱฿₫៛₪﷼%@&=_]|[0-9],)\s?$")
_NUMBER_CUES = (Kind.PHONE, Kind.NUMBER, Kind.WHATSAPP)


@cache
def _cue_word() -> re.Pattern[str]:
    every = [*words("cues", "phone"), *words("cues", "number"), *words("cues", "whatsapp")]
    return re.compile(pattern(every))


@cache
def _unit() -> re.Pattern[str]:
    return re.compile(rf"[ \t]?(?:[%°²³]|{pattern(words('numbers', 'units'))})")


@cache
def _currency() -> re.Pattern[str]:
    return re.compile(rf"{pattern(words('numbers', 'currencies'))}[.: ]{{0,2}}$")


def find_phones(text: Folded, country: str) -> list[Find]:
    """Phone and WhatsApp numbers of a text in which links and addresses are already blanked."""
    runs = find_runs(text.text)
    matches: list[Find] = []
    for index, run in enumerate(runs):
        if run.digits >= 7 and not _is_part_of_a_word(text.low, run):
            before = runs[index - 1].end if index else 0
            after = runs[index + 1].start if index + 1 < len(runs) else len(text.text)
            matches += _numbers_of_run(text, run, (before, after), country)
    return matches


def _is_part_of_a_word(low: str, run: Run) -> bool:
    """Whether letters, signs or units are written onto the digits, so that they are no number alone."""
    head = low[max(0, run.start - 26) : run.start]
    letters = _LETTERS_BEFORE.search(head)
    if letters is not None and not _cue_word().search(letters[0]):
        glued = head[-1:]
        if glued not in "./" or len(letters[0]) > 26:
            return True
    if _SIGN_BEFORE.search(head) or _currency().search(head):
        return True
    if low[run.end : run.end + 1] in ("*", "%", "•"):
        return True
    if _unit().match(low, run.end):
        return True
    tail = _LETTERS_AFTER.match(low, run.end)
    return tail is not None and not _cue_word().search(tail[0])


def _numbers_of_run(text: Folded, run: Run, neighbours: tuple[int, int], country: str) -> list[Find]:
    numbers = numbers_in(text.text, run, country)
    if not numbers:
        return []
    first, last = max(neighbours[0], run.start - _WINDOW), min(neighbours[1], run.end + _WINDOW)
    around = Surroundings(
        text.low,
        run.start,
        run.end,
        find_marks(text.low, first, run.start),
        find_marks(text.low, run.end, last),
        neighbours[1] < len(text.text),
    )
    if around.label():
        return []
    return [find for number in numbers if (find := _find(number, around)) is not None]


def _find(number: tuple[int, int, Reading], around: Surroundings) -> Find | None:
    start, end, reading = number
    whatsapp = around.whatsapp()
    cued = bool(whatsapp) or around.cue(*_NUMBER_CUES) or around.cue_after(*_NUMBER_CUES) is not None
    if reading.form in (Form.NO_PLUS, Form.NO_TRUNK) and not cued:
        return None
    field = Field.WHATSAPP if whatsapp else Field.PHONE
    rule = whatsapp or f"phone.{reading.form.value}"
    confidence = 0.95 if cued or reading.form is Form.INTERNATIONAL else 0.85
    return Find(field, reading.value, start, end, confidence, rule)
