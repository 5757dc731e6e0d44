"""The detector: one linear pass that asks what a text may hold, then the fields that were asked for."""

from collections.abc import Sequence

from contatto.capture.fields.emails import find_emails
from contatto.capture.fields.folding import fold
from contatto.capture.fields.handles import find_handles
from contatto.capture.fields.links import find_links
from contatto.capture.fields.phones import find_phones
from contatto.capture.fields.spelled import find_spelled_emails
from contatto.capture.model import ContactMatch, NameMatch

LONGEST = 16_384


def detect_contacts(text: str, country: str) -> list[ContactMatch]:
    """The contact details of one message; national numbers are read as numbers of `country`."""
    folded = fold(text)
    links = find_links(folded)
    finds = [link.find for link in links if link.find is not None]
    rest = folded.without((link.start, link.end) for link in links)
    for find_field in (find_emails, find_spelled_emails, find_handles):
        found = find_field(rest)
        rest = rest.without((find.start, find.end) for find in found)
        finds += found
    finds += find_phones(rest, country)
    finds.sort(key=lambda find: find.start)
    return [folded.match(find) for find in finds]


def detect_contacts_batch(texts: Sequence[tuple[str, str]]) -> list[list[ContactMatch]]:
    """The contact details of many messages, each with its country, in their order."""
    return [detect_contacts(text, country) for text, country in texts]


def detect_name(text: str) -> NameMatch | None:
    """The name that somebody states in a message."""
    return None


def warm() -> None:
    """Read all lexicons and the number plans of all markets, so that no message waits for them."""
    detect_contacts("warm 0812 345 6789 a@b.co", "ID")
