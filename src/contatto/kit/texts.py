"""Texts from outside: JSON, storable texts, e-mail addresses and links."""

import base64
import re
from email.utils import parseaddr
from typing import Any, Final
from urllib.parse import parse_qsl

import email_validator
import msgspec

from contatto.kit import errors
from contatto.kit.errors import Refused

JSON_ERRORS: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""Errors of malformed JSON: syntax, shape, encoding, nesting."""


def is_storable(text: str) -> bool:
    """Return whether a text can be stored and sent: PostgreSQL rejects NUL, UTF-8 half surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def check_texts(value: Any) -> Any:
    """Return the value, if all its texts can be stored.

    Raises:
        ValueError: a text cannot be stored.
    """
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            if not is_storable(part):
                raise ValueError("a text holds a character that cannot be kept")
        elif isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list):
            waiting += part
    return value


def read_pairs(query: str, most: int) -> list[tuple[str, str]]:
    """Return the pairs of a query in a form or a saved view.

    Raises:
        Refused: INVALID, for more than ``most``.
    """
    try:
        return parse_qsl(query, max_num_fields=most)
    except ValueError as error:
        raise Refused(errors.INVALID, "query: use at most %(most)s values.", most=most) from error


_LEAST_TOP_LEVEL: Final = 2
# Companies use `.local` inside their own network, and an installation may serve one of them.
email_validator.SPECIAL_USE_DOMAIN_NAMES = [
    name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name != "local"
]


class InvalidEmail(ValueError):
    """A text that is not an e-mail address."""


def checked_email(text: str) -> str:
    """Return an address with its domain in lower case, without a DNS query.

    Raises:
        InvalidEmail: the text is not one plain address, such as ``<a@b>`` or ``a;b@example.com``.
    """
    try:
        address = email_validator.validate_email(text.strip(), check_deliverability=False, strict=True)
    except email_validator.EmailNotValidError as error:
        raise InvalidEmail(str(error)) from error
    top_level = (address.ascii_domain or address.domain).rpartition(".")[2]
    if len(top_level) < _LEAST_TOP_LEVEL or top_level.isdigit():
        raise InvalidEmail("The domain must end in letters.")
    return address.normalized


def checked_sender(text: str) -> str:
    """Return the address of a sender such as ``Contatto <contatto@example.com>``.

    Raises:
        InvalidEmail: it has no address, or a wrong one.
    """
    return checked_email(parseaddr(text)[1])


_ADDRESS: Final = re.compile(r"(?:https?://|www\.)[^\s<>\"'`\\{}|^]{2,2000}", re.IGNORECASE)
_AFTER: Final = ".,;:!?)]}…»”’*_"
"""Characters that end a sentence rather than an address."""


def split_links(text: str) -> list[tuple[str, str]]:
    """Split a text into parts, each with its address, or "" for plain text.

    Only http and https count, so no link runs a script. A closing bracket belongs to an address with an
    opening one.
    """
    parts: list[tuple[str, str]] = []
    end = 0
    for match in _ADDRESS.finditer(text):
        shown = match[0]
        while (
            shown and shown[-1] in _AFTER and not (shown[-1] == ")" and shown.count("(") >= shown.count(")"))
        ):
            shown = shown[:-1]
        if "." not in shown.partition("://")[2].partition("/")[0] and not shown.lower().startswith("www."):
            continue
        address = shown if "://" in shown[:8] else f"https://{shown}"
        parts += [(text[end : match.start()], ""), (shown, address)]
        end = match.start() + len(shown)
    return [part for part in [*parts, (text[end:], "")] if part[0]]


def to_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    """The bytes of a text; a link that somebody changed is another link, even where it would mean the same.

    Raises:
        ValueError: we never wrote this text.
    """
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_base64url(raw) != text:
        raise ValueError("another spelling of these bytes")
    return raw
