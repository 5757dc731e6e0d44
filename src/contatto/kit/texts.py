"""Texts from outside: JSON, storable texts, e-mail addresses and base64url."""

import base64
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
        InvalidEmail: the text is not one plain address; ``<a@b>`` and ``a;b@example.com`` are none.
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


def to_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    """Decode base64url; refuse another spelling of the same bytes, so that a link has only one form.

    Raises:
        ValueError: `to_base64url` never returns this text.
    """
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_base64url(raw) != text:
        raise ValueError("another spelling of these bytes")
    return raw
