"""The sign that a form was opened, by whom and when: what is sent at once was filled in by a program."""

from typing import Final

from itsdangerous import Signer

from contatto.kit import errors
from contatto.kit.errors import Refused

LEAST_S: Final = 2
"""Seconds between opening a form and sending it; nobody reads and fills it in faster."""


def sign_opening(number: int, visitor: str, at_s: int, signer: Signer) -> str:
    """A token that says when this visitor was given this version of a form."""
    return f"{at_s}.{signer.get_signature(_opened(number, visitor, at_s)).decode()}"


def check_opening(token: str, number: int, visitor: str, now_s: float, signer: Signer) -> None:
    """Refuse what was not opened here, or was sent too fast.

    Raises:
        Refused: UNSIGNED; TOO_MANY with the seconds to wait, after which the same will be taken.
    """
    text, _, signature = token.partition(".")
    at_s = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
    if not signer.verify_signature(_opened(number, visitor, at_s), signature):
        raise Refused(errors.UNSIGNED, "Open the form again, then send it. Your answers are kept.")
    left_s = at_s + LEAST_S - now_s
    if left_s > 0:
        raise Refused(errors.TOO_MANY, "This was sent too quickly. Try again in a moment.", int(left_s) + 1)


def _opened(number: int, visitor: str, at_s: int) -> str:
    return f"{number}\0{visitor}\0{at_s}"
