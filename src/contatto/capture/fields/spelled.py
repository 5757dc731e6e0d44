"""E-mail addresses in words: "name at gmail dot com", and those with spaces or brackets in them."""

import re
from functools import cache

from contatto.capture.fields.emails import is_cut
from contatto.capture.fields.folding import Find, Folded, both_ends
from contatto.capture.fields.words import either, email_labels, key, pattern, tlds, words
from contatto.capture.model import Field

_GENERIC = frozenset({"at", "@", "et", "di", "alias", "chez", "在", "ات", "اط"})
_LOCAL_END = re.compile(r"[a-z0-9_][a-z0-9._+\-]{0,62}$")
_CUE_NEAR = 40


@cache
def _at() -> re.Pattern[str]:
    dot = _dots()
    label = rf"(?:[a-z0-9][a-z0-9\-]{{0,40}}|{either(email_labels())})"
    return re.compile(
        rf"[ \t]{{0,2}}(?P<at>{pattern(words('email', 'at'))})[ \t]{{0,2}}"
        rf"(?P<domain>{label}(?:[ \t]{{0,2}}{dot}[ \t]{{0,2}}{label}){{1,3}})"
    )


@cache
def _dots() -> str:
    return pattern(words("email", "dot"))


@cache
def _joined() -> re.Pattern[str]:
    """A word that stands for a sign between two pieces of the name, and the piece before it."""
    signs = "|".join(
        f"(?P<{name}>{pattern(word for word in words('email', name) if word != '.')})"
        for name in ("dot", "underscore", "dash")
    )
    return re.compile(rf"(?P<piece>[a-z0-9][a-z0-9._+\-]{{0,40}})[ \t]{{1,2}}(?:{signs})[ \t]{{1,2}}$")


@cache
def _ordinary() -> frozenset[str]:
    return frozenset(words("words", "stop")) | {"me", "us", "him", "her", "them", "it"}


@cache
def _email_cue() -> re.Pattern[str]:
    return re.compile(pattern(words("cues", "email")))


@cache
def _dot_word() -> re.Pattern[str]:
    return re.compile(rf"[ \t]{{0,2}}{_dots()}[ \t]{{0,2}}")


def find_spelled_emails(text: Folded) -> list[Find]:
    """Addresses whose `@` or dots are words, bracketed, or have spaces round them."""
    matches: list[Find] = []
    done = 0
    for match in both_ends(_at().finditer(text.low)):
        local_end = match.start()
        local_start, local = _local(text, max(done, local_end - 90), local_end)
        domain, end = _domain(match)
        if not local or not domain or not _is_meant(text.low, match, local, domain, local_start):
            continue
        matches.append(Find(Field.EMAIL, f"{local}@{domain}", local_start, end, 0.85, "email.spelled-out"))
        done = end
    return matches


def _local(text: Folded, first: int, last: int) -> tuple[int, str]:
    """The name before the at-word, its own dots perhaps words too, as it was written."""
    match = _LOCAL_END.search(text.low, first, last)
    if match is None:
        return 0, ""
    start, local = match.start(), text.text[match.start() : match.end()]
    for _ in range(3):
        more = _joined().search(text.low, max(first, start - 48), start)
        if more is None or more["piece"] in _ordinary():
            break
        sign = "." if more["dot"] else "_" if more["underscore"] else "-"
        start = more.start("piece")
        local = text.text[start : more.end("piece")] + sign + local
    if is_cut(text.text, start) or text.text[max(0, start - 1) : start] == "&":
        return 0, ""
    return start, local.strip(".-")


def _domain(match: re.Match[str]) -> tuple[str, int]:
    """The longest domain that ends in a top-level domain."""
    labels, ends, at = [], [], match.start("domain")
    written = match["domain"]
    for gap in _dot_word().finditer(written):
        labels.append(written[at - match.start("domain") : gap.start()])
        ends.append(match.start("domain") + gap.start())
        at = match.start("domain") + gap.end()
    labels.append(written[at - match.start("domain") :])
    ends.append(match.end("domain"))
    labels = [email_labels().get(key(label), label) for label in labels]
    while len(labels) > 1 and labels[-1] not in tlds():
        labels.pop()
        ends.pop()
    return (".".join(labels), ends[-1]) if len(labels) > 1 else ("", 0)


def _is_meant(low: str, match: re.Match[str], local: str, domain: str, start: int) -> bool:
    """Report whether this is an address, by a provider, a cue or brackets, and not a remark about a shop."""
    at = match["at"].strip()
    if local.lower() in _ordinary() or len(local) < 2:
        return False
    if at not in _GENERIC or "(" in match[0] or "[" in match[0]:
        return True
    providers = words("email", "providers")
    if any(label in providers for label in domain.split(".")[:-1]):
        return True
    return _email_cue().search(low, max(0, start - _CUE_NEAR), start) is not None
