"""Addresses of web pages in what people write, so that they can be followed."""

import re
from typing import Final

_ADDRESS: Final = re.compile(r"(?:https?://|www\.)[^\s<>\"'`\\{}|^]{2,2000}", re.IGNORECASE)
_AFTER: Final = ".,;:!?)]}…»”’*_"
"""What ends a sentence rather than an address."""


def split_links(text: str) -> list[tuple[str, str]]:
    """A text in parts, each with the address that it leads to, or "" for none.

    Nothing but http and https is an address, so none runs a script. A closing bracket belongs to an address
    that has an opening one.
    """
    parts: list[tuple[str, str]] = []
    end = 0
    for found in _ADDRESS.finditer(text):
        shown = found[0]
        while (
            shown and shown[-1] in _AFTER and not (shown[-1] == ")" and shown.count("(") >= shown.count(")"))
        ):
            shown = shown[:-1]
        if "." not in shown.partition("://")[2].partition("/")[0] and not shown.lower().startswith("www."):
            continue
        parts += [(text[end : found.start()], ""), (shown, _address_of(shown))]
        end = found.start() + len(shown)
    return [part for part in [*parts, (text[end:], "")] if part[0]]


def _address_of(shown: str) -> str:
    return shown if "://" in shown[:8] else f"https://{shown}"
