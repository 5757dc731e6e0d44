"""What a connector is: two pure functions and its traits; and how answers that all CRMs share are read.

The engine gives an operation, sends what ``ask`` makes of it, and hands the answer to ``read``. What follows
is decided by the engine alone:

    find by our id → read the stored id → find by e-mail or phone → write → read back

It renews a token after ``Expired``, takes the id that ``Exists`` names, follows ``Moved``, writes anew what
is gone, leaves out a field after ``FieldGone`` or ``ValueGone`` (its value goes into the note), waits after
``Later``, and makes a dead letter of ``Refused``. No answer at all repeats the sequence from its start, so
what was written before the answer was lost is found, and not written twice.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from contatto.crm.model.operations import Denied, Ended, Expired, Later, Link, Operation, Refused, Reply
from contatto.crm.model.traits import Traits
from contatto.kit.exchange import HttpAnswer, HttpRequest, retry_after_s
from contatto.kit.reading import UNREADABLE

UNREADABLE_ANSWER: Final = "unreadable"
"""An answer that is not what the CRM's documents promise, such as a page in HTML of a proxy."""
BUSY: Final = frozenset({408, 409, 423, 425, 429})
"""Statuses below 500 that are worth another try."""


class Connector(Protocol):
    """Speaks the language of one CRM. It keeps no state, reads no clock, opens no socket."""

    @property
    def traits(self) -> Traits: ...

    def ask(self, link: Link, operation: Operation) -> HttpRequest | Reply:
        """The first request of an operation; or at once the reply, such as ``Unsupported``.

        ``Expired`` where the secrets hold no session yet: the engine renews, and asks again.
        """
        ...

    def read(self, link: Link, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        """What an answer means, whatever the bytes: it never raises.

        Args:
            link: as it was given to ``ask``.
            operation: what was asked.
            answer: at most 256 KiB of it.
            memory: of the ``Onward`` that was answered; empty for the first request.
        """
        ...

    def record_url(self, link: Link, record_id: str) -> str:
        """Where a person sees the record in the CRM; empty if nowhere."""
        ...

    def agrees(self, field: str, written: str, found: str) -> bool:
        """Whether a field that was read back says what was written, in the CRM's own spelling of it."""
        ...


def same_text(written: str, found: str) -> bool:
    """Whether two texts are the same but for spaces around them, and for the case of letters."""
    return written.strip().casefold() == found.strip().casefold()


def json_request(method: str, url: str, headers: Mapping[str, str], body: Any = None) -> HttpRequest:
    """A request with JSON in it."""
    kept = {"Accept": "application/json", "User-Agent": "Contatto", **headers}
    if body is None:
        return HttpRequest(method, url, kept, b"")
    return HttpRequest(method, url, {**kept, "Content-Type": "application/json"}, msgspec.json.encode(body))


def read_json(answer: HttpAnswer) -> Any:
    """The JSON of an answer; None when it is none."""
    try:
        return msgspec.json.decode(answer.body)
    except UNREADABLE:
        return None


def plain_reply(answer: HttpAnswer) -> Reply | None:
    """What a status means for every CRM; None for 2xx, which the connector reads.

    Look for what the CRM says more exactly first: that a record exists, a field is gone, a value is wrong.
    Source: RFC 9110, 15; RFC 6585, 4 (429); RFC 8470, 5.2 (425).
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    if status >= 500 or status in BUSY:
        return Later(str(status), retry_after_s(answer))
    if status == 401:
        return Expired()
    if status in (402, 403):
        return Denied(str(status))
    if status == 410:
        return Ended(str(status))
    return Later(str(status)) if status < 400 else Refused(str(status))
