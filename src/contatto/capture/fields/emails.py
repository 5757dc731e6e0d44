"""E-mail addresses: grown outwards from the `@`, ended where the top-level domain ends."""

import re
from functools import cache

from contatto.capture.fields.folding import Find, Folded
from contatto.capture.fields.words import tlds, words
from contatto.capture.model import Field

_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9\u00a1-\ufffd][A-Za-z0-9\-\u00a1-\ufffd]{0,62}\.){1,8}"
    r"[A-Za-z0-9\-\u00a1-\ufffd]{2,63}"
)
_INSIDE = "._%+-'&"
_SIGNS = frozenset("!#$=?^`{|}~")
_ACCENTED = re.compile(r"[\u00c0-\u024f\u1e00-\u1eff]")
_WORD_BEFORE = re.compile(
    r"([a-z0-9\u00c0-\u024f\u1e00-\u1eff]+)[!#$%&'*+/=?^_`{|}~.\-]{1,16}$", re.IGNORECASE
)
_LEAST_DIGITS = 7
_ASCII = re.compile(r"[A-Za-z0-9\-]+")


def find_emails(text: Folded) -> list[Find]:
    """Addresses that are written with an `@`."""
    matches, done = [], 0
    at = text.text.find("@")
    while at >= 0:
        address = _address_at(text.text, at, done)
        if address is not None:
            start, end, value = address
            matches.append(Find(Field.EMAIL, value, start, end, 0.99, "email.address"))
            done = end
        at = text.text.find("@", max(at + 1, done))
    return matches


def _address_at(text: str, at: int, done: int) -> tuple[int, int, str] | None:
    local = _local_before(text, at, done)
    domain = _domain_after(text, at + 1) if local else None
    if domain is None:
        return None
    start, end = at - len(local), at + 1 + len(domain)
    if is_cut(text, start) and not _is_bold(text, start, end):
        return None
    if text[end : end + 1] == ":" and text[end + 1 : end + 2].isalnum():
        return None
    return start, end, f"{local}@{_readable(domain)}"


def _local_before(text: str, at: int, done: int) -> str:
    start = at
    while start > max(done, at - 65) and (
        (text[start - 1].isascii() and text[start - 1].isalnum()) or text[start - 1] in _INSIDE
    ):
        start -= 1
    if at - start > 64:
        return ""
    local = text[start:at].lstrip(_INSIDE)
    if text[start:at].startswith(".") and not text[start:at].startswith(".."):
        return ""  # a name begins with no dot (RFC 5321 4.1.2, Dot-string); an ellipsis is no part of it
    if "&" in local:
        local = _after_another(local, text[start - 1 : start])
    return "" if ".." in local or "&&" in local or local.endswith((".", "&")) else local


def _after_another(local: str, before: str) -> str:
    """The name without what an ampersand adds it to: a label, a number, or the end of another `@`."""
    first, _, rest = local.partition("&")
    is_other = before == "@" or first.lower() in labels() or (first.isdigit() and len(first) >= _LEAST_DIGITS)
    return rest if is_other else local


def is_cut(text: str, start: int) -> bool:
    """Report whether the local part begins inside a longer one, which would give a wrong address.

    RFC 5322 lets a name hold many signs. In a chat they mostly stand round an address, or between it and
    its label; behind any other word nobody can say, and a wrong address is worse than none.
    """
    edge = start
    while edge > max(0, start - 64) and text[edge - 1] in _INSIDE:
        edge -= 1
    if edge == 0:
        return False
    before = text[edge - 1]
    if before in "*/@" or _ACCENTED.match(before):
        return True
    if before not in _SIGNS:
        return False
    word = _WORD_BEFORE.search(text, max(0, start - 40), start)
    return word is not None and word[1].lower() not in labels()


@cache
def labels() -> frozenset[str]:
    """Words before a sign that tell what follows, and are no part of it."""
    cues = (cue for kind in ("email", "number", "phone") for cue in words("cues", kind))
    last = {re.split(r"[\s\x1f\-]", cue)[-1] for cue in cues}
    return frozenset(last) | {"contact", "contacto", "contato", "mailto", "to", "cc", "user", "login"}


def _is_bold(text: str, start: int, end: int) -> bool:
    """Between two asterisks that stand on their own, as chats mark what matters."""
    is_alone = start == 1 or not (text[start - 2 : start - 1].isalnum() or text[start - 2 : start - 1] == "*")
    return text[start - 1] == "*" and text[end : end + 1] == "*" and is_alone


def _domain_after(text: str, start: int) -> str | None:
    match = _DOMAIN.match(text, start, min(len(text), start + 254))
    if match is None:
        return None
    labels = match[0].split(".")
    while len(labels) > 1:
        last = _top_level(labels[-1])
        if last:
            return ".".join([*labels[:-1], last])
        labels.pop()
    return None


def _top_level(label: str) -> str:
    """The top-level domain that a label begins with, where its script ends."""
    plain = label.lower()
    if plain in tlds():
        return label
    match = _ASCII.match(label)
    if match is None or match[0].lower() not in tlds():
        return ""
    return match[0]


def _readable(domain: str) -> str:
    parts = domain.lower().split(".")
    return ".".join(
        part[4:].encode().decode("punycode") if part.startswith("xn--") else part for part in parts
    )
