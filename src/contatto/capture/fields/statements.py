"""Handles of letters alone, where a statement names them: "my instagram is lunadecor".

A word without a digit or a sign has no handle's shape, so two conditions must hold. First, the words around
it make a statement in one language: an owner, the platform, and a copula or a colon. Second, no lexicon
knows the word, because "my instagram is private" is a statement too.
"""

import re
from functools import cache

from contatto.capture.fields.folding import Folded
from contatto.capture.fields.ids import PICTURES, Cue
from contatto.capture.fields.words import LATIN, key, languages, lexicons, pattern, words

_WORD = re.compile(r"[a-z]{5,30}(?![a-z0-9_]|[.\-][a-z0-9_]|[@#%]|://)")
_WORD_LAST = re.compile(r"(?<![a-z0-9_.@/\-])(?P<id>[a-z]{5,30})[\"'\u201d\u2019\u00bb\u300d)*]?[ \t]*$")
_CLAUSE = re.compile(rf"[.,;:!?()\n\u3001\u3002\uff0c\uff01\uff1f\u060c\u061f{PICTURES}]")
_COLON = re.compile(r"[:=\uff1a][ \t]*[\"'\u201c\u2018\u00ab\u300c(*]?$")
_LONGEST_ENDED = 10
"""Letters up to which an ending such as "-ing" makes an ordinary word; names of shops are longer."""
_NEAR = 32
_ANY_LANGUAGE = "any"
_PLATFORMS = (
    *("instagram", "facebook", "messenger", "line", "twitter", "linkedin", "weibo", "wechat", "snapchat"),
    "whatsapp",
)


@cache
def _gap() -> re.Pattern[str]:
    """Match everything between a platform and the name of an account."""
    kinds = ("joiners", "markers", "around", "is", "own", "copulas")
    small = [word for kind in kinds for word in words("words", kind) if word.strip("@ \u3001\uff1a")]
    signs = f"[:/=>~*\"'()\\[\\]\u2018-\u201d\u00ab\u3001\u300c\uff1a{PICTURES}-]"
    whole = "(?:(?<![a-z])|(?![a-z0-9_]))"  # "ku" is no word in "kulineran"
    return re.compile(rf"(?:[ \t]{{0,3}}(?:{pattern(small)}{whole}|{signs})){{0,7}}[ \t]{{0,3}}")


@cache
def _finder(kind: str) -> re.Pattern[str]:
    return re.compile(pattern(words("words", kind), grouped=True))


@cache
def _copula_last() -> re.Pattern[str]:
    copulas = pattern(words("words", "copulas"), grouped=True)
    return re.compile(rf"{copulas}[ \t]*[:=\uff1a\"'\u2018\u201c\u00ab\u300c(*]{{0,2}}[ \t]*$")


@cache
def _end() -> re.Pattern[str]:
    """Match the end of a clause, another script, or a word such as "thanks"."""
    after = pattern([*words("words", "closers"), *words("words", "and"), *words("words", "own")])
    return re.compile(
        r"[\"'\u2019\u201d\u00bb\u300d)*]?"
        rf"(?:[ \t]*(?:$|[\n.,;!?)/&|+\-\u2013{PICTURES}]|[^\x00-\x7f{LATIN}])"
        rf"|[ \t]+(?:{after}|\+?[0-9][0-9 \-]{{6}}))"
    )


@cache
def _denied() -> re.Pattern[str]:
    """Match a negation behind the word, in languages that write it there."""
    return re.compile(rf"[ \t]*[^\x00-\x7f{LATIN}]{{0,3}}?(?:{pattern(words('words', 'negations'))})")


@cache
def _lexicon_words() -> frozenset[str]:
    """Return all words of all lexicons: none of them is the name of an account."""
    listed = (
        word
        for lexicon in lexicons()
        for section in lexicon.values()
        for kind in section.values()
        for phrase in kind
        for word in phrase.lower().split()
    )
    return frozenset(word for word in listed if word.isascii() and word.isalpha())


@cache
def _without_copula() -> frozenset[str]:
    """Return the languages that say "my instagram lunadecor"."""
    optional = languages("writing", "optional")
    return optional.get("copula", frozenset())


def find_stated(text: Folded, cue: Cue, claimed: int) -> tuple[int, int, str, str] | None:
    """Return start, end, value and rule of the handle that a statement about the cue's platform names.

    Args:
        text: the message.
        cue: the platform's name in it.
        claimed: end of the handle before; what stands before it belongs to another statement.
    """
    return _stated_behind(text.low, cue, claimed) or _stated_ahead(text.low, cue, claimed)


def _stated_behind(low: str, cue: Cue, claimed: int) -> tuple[int, int, str, str] | None:
    gap = _gap().match(low, cue.end)
    word = _WORD.match(low, gap.end()) if gap is not None else None
    if word is None or (gap is not None and gap.end() == cue.end and low[cue.end - 1].isascii()):
        return None
    first = max(claimed, cue.start - _NEAR)
    for stop in _CLAUSE.finditer(low, first, cue.start):
        first = stop.end()
    between = low[cue.end : word.start()]
    owners = _languages_in("own", low[first : cue.end]) | _languages_in("own", between)
    owners |= _glued_owner(low[cue.start : cue.end])
    spoken = _statement_languages(owners, low[cue.start : word.start()])
    if not spoken or not _knows_cue(low[cue.start : cue.end], spoken):
        return None
    if (
        not spoken.isdisjoint(_languages_in("negations", between))
        or _is_ordinary(word[0], spoken)
        or not _ends(low, word.end())
    ):
        return None
    return word.start(), word.end(), word[0], "handle-stated"


def _glued_owner(written: str) -> frozenset[str]:
    """Return the languages that write the owner onto the platform: "instagramku"."""
    endings = languages("writing", "endings")
    return frozenset().union(*(spoken for ending, spoken in endings.items() if written.endswith(ending)))


def _statement_languages(owners: frozenset[str], stretch: str) -> frozenset[str]:
    """Return the languages in which owner and copula make a statement; none if they do not."""
    copula = _copula_last().search(stretch)
    copulas: frozenset[str] = frozenset()
    if copula is not None:
        copulas = languages("words", "copulas")[key(copula[copula.lastindex or 0])]
    spoken = (owners & copulas) | (owners & _without_copula())
    spoken |= (owners | copulas) & _other_scripts()
    return spoken | owners if _COLON.search(stretch) else spoken


@cache
def _other_scripts() -> frozenset[str]:
    """Return languages of other scripts: a Latin word stands out, so owner or copula is enough."""
    return frozenset(
        language
        for word, spoken in languages("words", "copulas").items()
        if not word.isascii() and not re.match(f"[{LATIN}]", word)
        for language in spoken
    )


def _stated_ahead(low: str, cue: Cue, claimed: int) -> tuple[int, int, str, str] | None:
    """Read "lunadecor is my instagram"."""
    first = max(claimed, cue.start - 64)
    owned = _owned_last().search(low, first, cue.start)
    if owned is None:
        return None
    word = _WORD_LAST.search(low, first, owned.start())
    if word is None:
        return None
    copulas = _languages_in("copulas", low[word.end() : cue.start])
    owners = _languages_in("own", low[owned.start() : cue.end + 16])
    spoken = copulas & owners
    before = low[first : word.start()].rstrip(" \t\"'(*\u201c\u2018\u00ab\u300c")
    if before and not _CLAUSE.match(before[-1]):
        return None
    if not spoken or not _knows_cue(low[cue.start : cue.end], spoken) or _is_ordinary(word["id"], spoken):
        return None
    return (*word.span("id"), word["id"], "handle-stated") if _ends(low, cue.end) else None


@cache
def _owned_last() -> re.Pattern[str]:
    small = [*words("words", "joiners"), *words("words", "own")]
    return re.compile(rf"{pattern(words('words', 'copulas'))}(?:[ \t]*{pattern(small)}){{0,3}}[ \t]*$")


def _languages_in(kind: str, stretch: str) -> frozenset[str]:
    by_word = languages("words", kind)
    matches = _finder(kind).finditer(stretch)
    return frozenset().union(*(by_word[key(match[match.lastindex or 0])] for match in matches))


def _knows_cue(written: str, spoken: frozenset[str]) -> bool:
    """Report whether the platform is called so in one of the languages: "face" is Spanish, not English."""
    if not written.isascii():
        return True
    used = _cue_languages().get(key(written), frozenset())
    return not used or _ANY_LANGUAGE in used or not used.isdisjoint(spoken)


@cache
def _cue_languages() -> dict[str, frozenset[str]]:
    cues: dict[str, frozenset[str]] = {}
    for platform in _PLATFORMS:
        for word, spoken in languages("cues", platform).items():
            cues[word] = cues.get(word, frozenset()) | spoken
    return cues


def _is_ordinary(word: str, spoken: frozenset[str]) -> bool:
    if word in _lexicon_words():
        return True
    endings = languages("words", "state_endings")
    return len(word) <= _LONGEST_ENDED and any(
        word.endswith(ending) and (not used.isdisjoint(spoken) or not spoken.isdisjoint(_other_scripts()))
        for ending, used in endings.items()
    )


def _ends(low: str, end: int) -> bool:
    return _end().match(low, end) is not None and _denied().match(low, end) is None
