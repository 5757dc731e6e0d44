"""Stage one: a single RE2 pass over the bytes says which fields a text may hold, or that it holds none."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import cache
from itertools import accumulate
from typing import Any

import re2

from contatto.capture.fields.folding import FOLDABLE
from contatto.capture.fields.words import linear_pattern, words

_BETWEEN = r"[ \t.()/_~\-\x{2010}-\x{2015}\x{2212}\x{30fc}\x{b7}\x{2022}]"
_LABEL = r"[a-z0-9][a-z0-9\-]*"
_MEMORY = 64 << 20


class Hint(IntEnum):
    """What a text may hold; also the number of the pattern in the set."""

    FOLD = 0
    LINK = 1
    AT = 2
    SPELLED = 3
    CUE = 4
    SHAPE = 5
    DIGITS = 6


_NOTHING: frozenset[Hint] = frozenset()


def _cues() -> str:
    kinds = (
        "instagram",
        "facebook",
        "messenger",
        "line",
        "twitter",
        "linkedin",
        "weibo",
        "wechat",
        "snapchat",
    )
    return (
        linear_pattern(dict.fromkeys(word for kind in kinds for word in words("cues", kind)))
        + r"|(?:^|[^a-z0-9])x ?[:=(@\x{ff1a}\-]"
    )


@cache
def _patterns() -> tuple[str, ...]:
    dots = linear_pattern([word for word in words("email", "dot") if word != "."])
    ats = linear_pattern([word for word in words("email", "at") if word != "@"])
    return (
        f"(?-i:[{_escaped(FOLDABLE)}])",
        r"://|www\.|[a-z0-9]\.[a-z]{2,12}(?::[0-9]+)?/"
        r"|(?:instagram|facebook|linkedin|snapchat|twitter|weibo|wechat|messenger|whatsapp|x|line)\.(?:com|me)",
        "@",
        rf"(?:{ats})[ \t]{{0,2}}{_LABEL}[ \t]{{0,2}}(?:\.|{dots})"
        rf"|@[ \t]{{0,2}}{_LABEL}[ \t]{{0,2}}(?:[ \t]\.|\.[ \t]|{dots})"
        rf"|@[ \t]{{1,2}}[a-z0-9]|[a-z0-9_][ \t]{{1,2}}@",
        _cues(),
        r"@[a-z0-9_\x{3040}-\x{30ff}\x{3400}-\x{9fff}\x{ac00}-\x{d7af}]"
        r"|[a-z0-9_][._\-][a-z0-9_]|[a-z_][0-9]|[0-9][a-z_]|[0-9][0-9 .\-()]{4}[0-9 .\-()]*[0-9]",
        rf"[0-9](?:{_BETWEEN}{{0,4}}[0-9Oo]){{6}}",
    )


def _escaped(signs: str) -> str:
    return "".join(sign if sign == "-" else f"\\x{{{ord(sign):x}}}" for sign in signs)


def _options() -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = _MEMORY
    options.never_capture = True
    options.log_errors = False
    return options


@cache
def _set() -> re2.Set:
    """All patterns at once."""
    together = re2.Set.SearchSet(_options())
    for pattern in _patterns():
        together.Add(pattern)
    together.Compile()
    return together


@cache
def _any() -> Any:
    """What a match may start from, for a whole batch in one buffer; a shape alone is nothing."""
    patterns = [pattern for hint, pattern in enumerate(_patterns()) if hint != Hint.SHAPE]
    return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns), _options())


@cache
def _hinted(numbers: tuple[int, ...]) -> frozenset[Hint]:
    found = frozenset(Hint(number) for number in numbers)
    if found <= {Hint.CUE} or found <= {Hint.SHAPE}:
        return _NOTHING
    return found


def hints(text: str) -> frozenset[Hint]:
    """What the text may hold."""
    numbers = _set().Match(as_bytes(text))
    return _hinted(tuple(numbers)) if numbers else _NOTHING


def as_bytes(text: str) -> bytes:
    """UTF-8, with lone surrogates as the replacement character: RE2 reads nothing else."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def likely(texts: Sequence[str]) -> Iterator[int]:
    """The places of those texts of a batch in which stage one finds anything, in order."""
    joined = as_bytes("\n".join(texts))
    return _places(joined, texts)


def _places(joined: bytes, texts: Sequence[str]) -> Iterator[int]:
    search = _any().search
    ends = list(accumulate(len(as_bytes(text)) + 1 for text in texts))
    at, whole = 0, len(joined)
    while at < whole:
        found = search(joined, at, whole)
        if found is None:
            return
        first = found.start()
        index = bisect_right(ends, first + 1 if joined[first] == 10 else first)
        yield index
        at = ends[index] - 1  # from the line's end, which is the border of a word at the next one's start
