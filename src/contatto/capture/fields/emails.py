"""E-mail addresses: grown outwards from the `@`, ended where the top-level domain ends."""

import re

from contatto.capture.fields.folding import Find, Folded
from contatto.capture.fields.words import tlds
from contatto.capture.model import Field

_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9\u00a1-\ufffd][A-Za-z0-9\-\u00a1-\ufffd]{0,62}\.){1,8}"
    r"[A-Za-z0-9\-\u00a1-\ufffd]{2,63}"
)
_ASCII = re.compile(r"[A-Za-z0-9\-]+")


def find_emails(text: Folded) -> list[Find]:
    """Addresses that are written with an `@`."""
    matches, done = [], 0
    at = text.text.find("@")
    while at >= 0:
        found = _address_at(text.text, at, done)
        if found is not None:
            start, end, value = found
            matches.append(Find(Field.EMAIL, value, start, end, 0.99, "email.address"))
            done = end
        at = text.text.find("@", max(at + 1, done))
    return matches


def _address_at(text: str, at: int, done: int) -> tuple[int, int, str] | None:
    local = _local_before(text, at, done)
    domain = _domain_after(text, at + 1)
    if not local or domain is None:
        return None
    end = at + 1 + len(domain)
    if text[end : end + 1] == ":" and text[end + 1 : end + 2].isalnum():
        return None
    return at - len(local), end, f"{local}@{_readable(domain)}"


def _local_before(text: str, at: int, done: int) -> str:
    start = at
    while start > max(done, at - 65) and (
        (text[start - 1].isascii() and text[start - 1].isalnum()) or text[start - 1] in "._%+-'"
    ):
        start -= 1
    if (start > 0 and text[start - 1] in "*/@") or at - start > 64:
        return ""
    local = text[start:at].lstrip("._%+-'")
    return "" if ".." in local or local.endswith(".") else local


def _domain_after(text: str, start: int) -> str | None:
    found = _DOMAIN.match(text, start, min(len(text), start + 254))
    if found is None:
        return None
    labels = found[0].split(".")
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
    found = _ASCII.match(label)
    if found is None or found[0].lower() not in tlds():
        return ""
    return found[0]


def _readable(domain: str) -> str:
    parts = domain.lower().split(".")
    return ".".join(
        part[4:].encode().decode("punycode") if part.startswith("xn--") else part for part in parts
    )
