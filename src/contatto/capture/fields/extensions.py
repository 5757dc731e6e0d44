"""Extensions: the few digits behind a number that ring one desk, as in "03 331 6005 ext. 22"."""

import re
from functools import cache
from typing import NamedTuple

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
    found = _extension().match(text, end)
    return Extension(found[1], found.end()) if found is not None else None
