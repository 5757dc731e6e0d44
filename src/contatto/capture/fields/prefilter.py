"""Stage one: a single RE2 pass over the bytes says which fields a text may hold, or that it holds none."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import cache

from contatto.capture.fields.folding import FOLDABLE
from contatto.capture.fields.words import (
    LATIN,
    Match,
    either,
    email_labels,
    languages,
    linear_pattern,
    match_of,
    words,
)

_BETWEEN = r"[ \t.()/_~\-\x{2010}-\x{2015}\x{2212}\x{30fc}\x{b7}\x{2022}]"
_LABEL = r"[a-z0-9][a-z0-9\-]*"
_MEMORY = 64 << 20


class Hint(IntEnum):
    """Possible content of a text; the value is also the number of the pattern in the set."""

    FOLD = 0
    LINK = 1
    AT = 2
    SPELLED = 3
    CUE = 4
    SHAPE = 5
    DIGITS = 6
    STATED = 7


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
        + r"|(?:^|[^a-z0-9])x(?: ?[:=(@\x{ff1a}\-]|[^a-z0-9][^@\n]{0,24}@)"
    )


@cache
def _patterns() -> tuple[str, ...]:
    dots = linear_pattern([word for word in words("email", "dot") if word != "."])
    label = rf"(?:{_LABEL}|{either(email_labels())})"
    ats = linear_pattern([word for word in words("email", "at") if word != "@"])
    return (
        f"(?-i:[{_escaped(FOLDABLE)}])",
        r"://|www\.|[a-z0-9]\.[a-z]{2,12}(?::[0-9]+)?/"
        r"|(?:instagram|facebook|linkedin|snapchat|twitter|weibo|wechat|messenger|whatsapp|x|line)\.(?:com|me)",
        "@",
        rf"(?:{ats})[ \t]{{0,2}}{label}[ \t]{{0,2}}(?:\.|{dots})"
        rf"|@[ \t]{{0,2}}{label}[ \t]{{0,2}}(?:[ \t]\.|\.[ \t]|{dots})"
        rf"|@[ \t]{{1,2}}[a-z0-9]|[a-z0-9_][ \t]{{1,2}}@",
        _cues(),
        r"@[a-z0-9_\x{3040}-\x{30ff}\x{3400}-\x{9fff}\x{ac00}-\x{d7af}]"
        r"|_|[:=\x{ff1a}][ \t]{0,2}(?:[a-z]{5}|[\x{3400}-\x{9fff}]{2})"
        r"|[a-z0-9][.\-][a-z0-9_]|[a-z_][0-9]|[0-9][a-z_]|[0-9][0-9 .\-()]{4}[0-9 .\-()]*[0-9]",
        rf"[0-9](?:{_BETWEEN}{{0,4}}[0-9Oo]){{6}}",
    )


def _numbers(raw: bytes) -> list[int]:
    """Return the numbers of the hints; a platform without a handle's shape asks for a statement."""
    numbers = _match()(raw)
    if numbers and Hint.CUE in numbers and Hint.SHAPE not in numbers and _match_statement()(raw):
        numbers.append(Hint.STATED)
    return numbers


@cache
def _match_statement() -> Match:
    return match_of([_statement()], _MEMORY)


def _statement() -> str:
    """Return the pattern of an account's owner, or of a Latin word beside another script."""
    endings = either(languages("writing", "endings"))
    return (
        linear_pattern(words("words", "own"))
        + rf"|[a-z](?:{endings})[^a-z]"
        + rf"|[^\x00-\x7f{LATIN}][ \t:\"'(]{{0,3}}[a-z]{{5}}|[a-z]{{5}}[ \t\"')]{{0,3}}[^\x00-\x7f{LATIN}]"
    )


def _escaped(signs: str) -> str:
    return "".join(sign if sign == "-" else f"\\x{{{ord(sign):x}}}" for sign in signs)


@cache
def _match() -> Match:
    """All patterns at once."""
    return match_of(_patterns(), _MEMORY)


@cache
def _hinted(numbers: tuple[int, ...]) -> frozenset[Hint]:
    hints = frozenset(Hint(number) for number in numbers)
    return _NOTHING if hints <= {Hint.CUE} or hints <= {Hint.SHAPE} else hints


def hints(text: str) -> frozenset[Hint]:
    """Return the possible content of the text."""
    numbers = _numbers(as_bytes(text))
    return _hinted(tuple(numbers)) if numbers else _NOTHING


def as_bytes(text: str) -> bytes:
    """UTF-8, with lone surrogates as the replacement character: RE2 reads nothing else."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _places(texts: Iterable[bytes]) -> dict[tuple[int, ...], list[int]]:
    places: dict[tuple[int, ...], list[int]] = {}
    for index, numbers in enumerate(map(_numbers, texts)):
        if numbers:
            places.setdefault(tuple(numbers), []).append(index)
    return places


def hints_of_all(texts: Sequence[str]) -> dict[frozenset[Hint], list[int]]:
    """The places of the texts that may hold anything, by what they may hold.

    All texts go through stage one before any other work, and then like with like: each pattern's tables stay
    in the processor's cache, which is worth a third of the time.
    """
    try:
        places = _places(map(str.encode, texts))
    except UnicodeEncodeError:
        places = _places(map(as_bytes, texts))
    groups: dict[frozenset[Hint], list[int]] = {}
    for several, indexes in places.items():
        hinted = _hinted(several)
        if hinted:
            groups.setdefault(hinted, []).extend(indexes)
    return groups
