"""The lexicons: words per language from data files, and patterns that respect each script's borders."""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.resources import files

import re2

from contatto.capture.fields.folding import fold

#: Letters of scripts that are written with spaces; elsewhere a word may stand anywhere.
LATIN = "a-z\u00e0-\u024f\u1e00-\u1eff"
SEMITIC = "\u05d0-\u05ea\u0621-\u064a\u066e-\u06d3\u06fa-\u06ff"
#: What Arabic and Hebrew write onto a word: and, with, for, the … before; my, your, our … after.
_BEFORE = "(?:[وف]?(?:عال|بال|لل|كال|ال|[بلع])?|[ושה]?[הבלמ]?)"
_AFTER = "(?:ي|ى|نا|ك|كم|ه|ها|و|י)?"

#: Letters that Arabic and Urdu keyboards mix up; the first of each stands for all of them.
_SAME = (
    "\u0627\u0623\u0625\u0622\u0671",
    "\u0647\u0629\u06c1\u06c3",
    "\u064a\u0649\u06cc\u06d2",
    "\u0643\u06a9",
    "'\u05f3\u2019\u2018",
    '"\u05f4\u201d',
)
_ONE_LETTER = {ord(letter): letters[0] for letters in _SAME for letter in letters[1:]}
_SPELLINGS = {letters[0]: letters for letters in _SAME}

type Match = Callable[[bytes], list[int]]

#: The space inside a word of the lexicons that must be there; all others may be left out.
_SPACE = "\x1f"
_GAPS = {" ": r"[ \t\-]?", _SPACE: r"[ \t\-]"}

_FOLDER = files("contatto.capture") / "lexicons"


@cache
def lexicons() -> tuple[dict[str, dict[str, list[str]]], ...]:
    """Every language's file, in the order of their names."""
    names = (f"{name}.toml" for name in _language_names())
    return tuple(tomllib.loads((_FOLDER / name).read_text(encoding="utf-8")) for name in names)


def _language_names() -> list[str]:
    names = (entry.name for entry in _FOLDER.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


@cache
def words(section: str, kind: str) -> tuple[str, ...]:
    """One kind of word in all languages, folded and lower-cased, with and without accents."""
    unique_words: dict[str, None] = {}
    for lexicon in lexicons():
        writing = lexicon.get("writing", {})
        for word in lexicon.get(section, {}).get(kind, ()):
            plain = key(fold(word).low, spaces=" ")
            unique_words.update(dict.fromkeys(map(_parted, (plain, *_variants(plain, writing)))))
    return tuple(unique_words)


@cache
def languages(section: str, kind: str) -> dict[str, frozenset[str]]:
    """Map the words of a kind to the languages that use them; "any" stands for all."""
    spoken: dict[str, set[str]] = {}
    for language, lexicon in zip(_language_names(), lexicons(), strict=True):
        for word in lexicon.get(section, {}).get(kind, ()):
            plain = key(fold(word).low, spaces=" ")
            for spelling in (plain, *_variants(plain, lexicon.get("writing", {}))):
                spoken.setdefault(key(spelling), set()).add(language)
    return {word: frozenset(names) for word, names in spoken.items()}


@cache
def _ordinary() -> frozenset[str]:
    kinds = ("stop", "joiners")
    return frozenset(
        key(word)
        for lexicon in lexicons()
        for kind in kinds
        for word in lexicon.get("words", {}).get(kind, ())
    )


def _parted(word: str) -> str:
    """Two words that would be an ordinary one without their space keep it: "no va" is not "nova"."""
    return word.replace(" ", _SPACE) if " " in word and key(word) in _ordinary() else word


def _variants(word: str, writing: dict[str, list[str]]) -> Iterator[str]:
    """Return other spellings of a word: without accents, with an ending such as Indonesian "-nya"."""
    if len(word) > 4 and "accents" in writing.get("optional", ()):
        yield _without_accents(word)
    if len(word) > 3:
        yield from (word + ending for ending in writing.get("endings", ()))


def _without_accents(word: str) -> str:
    parts = unicodedata.normalize("NFD", word.replace("\u0111", "d"))
    return "".join(part for part in parts if not unicodedata.combining(part))


def key(found: str, *, spaces: str = "") -> str:
    """Return the lookup key of a matched word: one letter for those that are mixed up, no spaces."""
    return " ".join(found.translate(_ONE_LETTER).replace("-", " ").split()).replace(" ", spaces)


@cache
def email_labels() -> dict[str, str]:
    """Return the labels of "gmail" or "com" by their spelling in other scripts."""
    return {
        key(fold(word).low): label
        for lexicon in lexicons()
        for label, listed in lexicon.get("email_labels", {}).items()
        for word in listed
    }


@cache
def tlds() -> frozenset[str]:
    """Top-level domains, in ASCII and Unicode spelling."""
    lines = (_FOLDER / "tlds.txt").read_text(encoding="utf-8").split()
    return frozenset(lines)


def either(options: Iterable[str]) -> str:
    """An alternation as a tree of common beginnings, longest first, so that no word is tried twice."""
    tree: dict[str, object] = {}
    for option in options:
        node = tree
        for sign in option:
            node = node.setdefault(sign, {})  # type: ignore[assignment]
        node[""] = {}
    return _branch(tree)


def _branch(node: dict[str, object]) -> str:
    ends = "" in node
    arms = [_sign(sign) + _branch(below) for sign, below in node.items() if sign]  # type: ignore[arg-type]
    if not arms:
        return ""
    body = arms[0] if len(arms) == 1 and not ends else f"(?:{'|'.join(arms)})"
    return f"{body}?" if ends else body


def _sign(sign: str) -> str:
    if sign in _GAPS:
        return _GAPS[sign]
    return f"[{_SPELLINGS[sign]}]" if sign in _SPELLINGS else re.escape(sign)


def _groups(options: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    latin, semitic, other_words = [], [], []
    for option in options:
        if re.match(f"[{LATIN}0-9]", option):
            latin.append(option)
        elif re.match(f"[{SEMITIC}]", option):
            semitic.append(option)
        else:
            other_words.append(option)
    return latin, semitic, other_words


def pattern(options: Iterable[str], *, grouped: bool = False) -> str:
    """A pattern for `re` that finds any of the words, whole where their script has borders.

    With `grouped`, the one group that is set holds the word without what Arabic or Hebrew write onto it.
    """
    latin, semitic, other_words = _groups(options)
    first = "(" if grouped else "(?:"
    arms = []
    if latin:
        arms.append(f"{_begins(latin)}(?<![{LATIN}0-9_]){first}{either(latin)})(?![{LATIN}_])")
    if semitic:
        arms.append(
            f"(?=[{SEMITIC}])(?<![{SEMITIC}]){_BEFORE}{first}{either(semitic)}){_AFTER}(?![{SEMITIC}])"
        )
    if other_words:
        arms.append(f"{_begins(other_words)}{first}{either(other_words)})")
    return f"(?:{'|'.join(arms)})" if arms else "(?!)"


def _begins(options: list[str]) -> str:
    """A look at one sign, so that `re` tries a large tree only where one of its words may begin."""
    signs = {same for option in options for same in _SPELLINGS.get(option[0], option[0])}
    return f"(?=[{re.escape(''.join(sorted(signs)))}])"


def linear_pattern(options: Iterable[str], *, starts: str = "", ends: str = "") -> str:
    """Return the pattern for RE2, which has no look-around: the borders are part of the match.

    With `starts` or `ends` the word must stand there, such as at the end of the text, and the border is that.
    """
    latin, semitic, other_words = _groups(options)
    arms = []
    if latin:
        first, last = starts or f"(?:^|[^{LATIN}0-9_])", ends or f"(?:$|[^{LATIN}_])"
        arms.append(f"{first}{either(latin)}{last}")
    if semitic:
        first, last = starts or f"(?:^|[^{SEMITIC}])", ends or f"(?:$|[^{SEMITIC}])"
        arms.append(f"{first}{_BEFORE}{either(semitic)}{_AFTER}{last}")
    if other_words:
        arms.append(f"{starts}{either(other_words)}{ends}")
    return "|".join(arms)


def match_of(patterns: Iterable[str], memory: int) -> Match:
    """The numbers of the patterns that a text in UTF-8 holds, in any case, by one linear pass."""
    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = memory
    options.never_capture = True
    options.log_errors = False
    search_set = re2.Set.SearchSet(options)
    for one in patterns:
        search_set.Add(one)
    search_set.Compile()
    match: Match = search_set._set.Match  # noqa: SLF001 - its wrapper costs a fifth of the time of a plain text
    return match
