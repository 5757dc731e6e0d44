"""What a label, a note or a task may look like."""

import re
from datetime import date
from typing import Final

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.timestamps import check_year, day_of

NOTE_LIMIT: Final = 4_000
TASK_LIMIT: Final = 200
LABEL_LIMIT: Final = 40
VIEW_LIMIT: Final = 60
MOST_LABELS: Final = 200
"""Labels of one business; more than one can choose from is a sign of something else."""
TONES: Final = 6
_LINE: Final = re.compile(r"\s+")


def read_label(text: str) -> str:
    """A label's name in one line.

    Raises:
        Refused: INVALID.
    """
    return _one_line("label", text, LABEL_LIMIT)


def read_task(text: str) -> str:
    """What a task says, in one line.

    Raises:
        Refused: INVALID.
    """
    return _one_line("text", text, TASK_LIMIT)


def read_view_name(text: str) -> str:
    """The name of a saved view, in one line.

    Raises:
        Refused: INVALID.
    """
    return _one_line("name", text, VIEW_LIMIT)


def read_note(text: str) -> str:
    """A note's text: lines stay, control characters go.

    Raises:
        Refused: INVALID.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(letter for letter in lines if letter == "\n" or letter.isprintable()).strip()
    if not 0 < len(kept) <= NOTE_LIMIT:
        raise Refused(errors.INVALID, "text: use 1 to %(most)s characters.", most=NOTE_LIMIT)
    return kept


def read_day(text: str) -> date | None:
    """A day as YYYY-MM-DD; None for an empty text.

    Raises:
        Refused: INVALID.
    """
    if not text.strip():
        return None
    check_year("due_on", text)
    found = day_of(text.strip())
    if found is None:
        raise Refused(errors.INVALID, "due_on: enter the day as YYYY-MM-DD.")
    return found


def _one_line(field: str, text: str, most: int) -> str:
    visible = "".join(letter if letter.isprintable() else " " for letter in text)
    kept = _LINE.sub(" ", visible).strip()
    if not 0 < len(kept) <= most:
        raise Refused(errors.INVALID, "%(field)s: use 1 to %(most)s characters.", field=field, most=most)
    return kept
