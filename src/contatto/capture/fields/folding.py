"""Folding: one plain spelling of a text, and the way back to where each character came from."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from contatto.capture.model import ContactMatch, Field

#: Stands where something was read already.
BLANK = "\uffff"
#: Marks that are not seen: zero-width, bidi, soft hyphen, variation selectors, keycap, tags.
UNSEEN = (
    "\u00ad\u034f\u061c\u0640\u064b-\u0652\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u20e3\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e01ef"
)
#: Marks that join the character before them: combining accents and the half-width voiced marks.
_JOINING = "\u0300-\u033f\uff9e\uff9f"
#: Spaces, forms and signs with a plain equal; letters such as Thai sara am are not among them.
_FORMS = (
    "\u00a0\u00aa\u00b2\u00b3\u00b9\u00ba\u0130\u2000-\u200a\u2028\u2029\u202f\u205f\u2070-\u209f"
    "\u2100-\u214f\u2460-\u24ff\u2776-\u2793\u3000\ufb00-\ufb06\ufb50-\ufdff\ufe10-\ufe19\ufe30-\ufe6f"
    "\ufe70-\ufefc\uff01-\uffef\U0001d400-\U0001d7ff\U0001f100-\U0001f189\ud800-\udfff"
)


def _digit_blocks() -> str:
    """The decimal digits of every script but ASCII and the forms above, as a character class."""
    starts = (
        0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50,
        0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0,
        0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0x104A0, 0x11066,
        0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0,
        0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16B50, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
    )  # fmt: skip
    return "".join(f"{chr(first)}-{chr(first + 9)}" for first in starts)


#: A class of the characters for which a text is folded; stage one of the detector asks for it. The common
#: full-width comma, colon, question and exclamation marks are not among them: the patterns know them.
FOLDABLE = (
    UNSEEN
    + _JOINING
    + _FORMS.replace("\ud800-\udfff", "").replace(
        "\uff01-\uffef", "\uff02-\uff0b\uff0d-\uff19\uff1b-\uff1e\uff20-\uffef"
    )
    + _digit_blocks()
)

_CLUSTER = re.compile(
    f"(?P<unseen>[{UNSEEN}]+)|[^{_JOINING}{UNSEEN}\\s]?[{_JOINING}]{{1,8}}|[{_FORMS}{_digit_blocks()}]"
)
_ANY = re.compile(f"[{UNSEEN}{_JOINING}{_FORMS}{_digit_blocks()}]")
"""What a cluster has one of at least: to look for it takes a tenth of what looking for clusters does."""


class Find(NamedTuple):
    """Match of a field; its span is that of the folded text."""

    field: Field
    value: str
    start: int
    end: int
    confidence: float
    rule: str
    extension: str = ""


def both_ends[T](items: Iterable[T], most: int = 64) -> list[T]:
    """All items, or where they are very many the first and the last of them: a flood hides no contact."""
    every = list(items)
    return every if len(every) <= most else every[: most // 2] + every[-(most // 2) :]


@dataclass(slots=True)
class Folded:
    """A text as the fields read it; `starts` and `ends` are empty where nothing moved."""

    original: str
    text: str
    low: str
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of a folded slice in the original text."""
        if not self.starts or start >= end:
            return start, end
        return self.starts[start], self.ends[end - 1]

    def match(self, find: Find) -> ContactMatch:
        """A find with its evidence in the original text."""
        start, end = self.span(find.start, find.end)
        raw = self.original[start:end]
        return ContactMatch(
            find.field, find.value, start, end, raw, find.confidence, find.rule, find.extension
        )

    def without(self, spans: Iterable[tuple[int, int]]) -> "Folded":
        """The text with some spans made unreadable, so that no other field reads them again."""
        text, low = self.text, self.low
        for start, end in spans:
            text = text[:start] + BLANK * (end - start) + text[end:]
            low = low[:start] + BLANK * (end - start) + low[end:]
        return Folded(self.original, text, low, self.starts, self.ends)


@lru_cache(maxsize=8192)
def _plain(cluster: str) -> str:
    """The plain spelling of one cluster of characters."""
    if "\ud800" <= cluster <= "\udfff" and len(cluster) == 1:
        return "\ufffd"
    if cluster in "\u2028\u2029":
        return "\n"
    if cluster == "\u0130":
        return "I"
    if cluster.isspace():
        return " "
    plain = unicodedata.normalize("NFKC", cluster)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in plain)


def fold(text: str) -> Folded:
    """Fold a whole text; what has nothing to fold comes back as it is, with no map."""
    if text.isascii() or _ANY.search(text) is None:
        return Folded(text, text, text.lower())
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in _CLUSTER.finditer(text):
        first, last = match.span()
        pieces.append(text[done:first])
        starts.extend(range(done, first))
        ends.extend(range(done + 1, first + 1))
        done = last
        if match["unseen"] is None:
            plain = _plain(match[0])
            pieces.append(plain)
            starts.extend([first] * len(plain))
            ends.extend([last] * len(plain))
    pieces.append(text[done:])
    starts.extend(range(done, len(text)))
    ends.extend(range(done + 1, len(text) + 1))
    plain_text = "".join(pieces)
    return Folded(text, plain_text, plain_text.lower(), tuple(starts), tuple(ends))
