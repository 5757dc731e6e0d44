"""The sign that a form was opened, by whom and when: what is sent at once was filled in by a program."""

import base64
import hmac
from typing import Final

from contatto.kit import errors
from contatto.kit.errors import Refused

LEAST_S: Final = 2
"""Seconds between opening a form and sending it; nobody reads and fills it in faster."""
_SIGNATURE_BYTES: Final = 16


def sign_opening(number: int, visitor: str, at_s: int, key: bytes) -> str:
    """A token that says when this visitor was given this version of a form."""
    return f"{at_s}.{_signature(number, visitor, at_s, key)}"


def check_opening(token: str, number: int, visitor: str, now_s: float, key: bytes) -> None:
    """Refuse what was not opened here, or was sent too fast.

    Raises:
        Refused: UNSIGNED; TOO_MANY with the seconds to wait, after which the same will be taken.
    """
    text, _, signature = token.partition(".")
    at_s = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
    if not hmac.compare_digest(signature.encode(), _signature(number, visitor, at_s, key).encode()):
        raise Refused(errors.UNSIGNED, "Open the form again, then send it; what you typed is kept.")
    left_s = at_s + LEAST_S - now_s
    if left_s > 0:
        raise Refused(errors.TOO_MANY, "That was very fast. Try again in a moment.", int(left_s) + 1)


def _signature(number: int, visitor: str, at_s: int, key: bytes) -> str:
    digest = hmac.digest(key, f"{number}\0{visitor}\0{at_s}".encode(), "sha256")[:_SIGNATURE_BYTES]
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
