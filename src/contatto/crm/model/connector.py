"""What a connector is: two pure functions and its traits.

The engine gives an operation, sends what ``ask`` makes of it, and hands the answer to ``read``. What follows
is decided by the engine alone:

    find by our id → read the stored id → find by e-mail or phone → write → read back

It renews a token after ``Expired``, takes the id that ``Exists`` names, follows ``Moved``, writes anew what
is gone, leaves out a field after ``FieldGone`` or ``ValueGone`` (its value goes into the note), waits after
``Later``, and makes a dead letter of ``Refused``. No answer at all repeats the sequence from its start, so
what was written before the answer was lost is found, and not written twice.
"""

from typing import Protocol

from contatto.crm.model.operations import Link, Operation, Reply
from contatto.crm.model.traits import Traits
from contatto.kit.outbound.model import HttpAnswer, HttpRequest


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
        """Return where a person sees the record in the CRM; empty if nowhere."""
        ...

    def agrees(self, field: str, written: str, found: str) -> bool:
        """Whether a field that was read back says what was written, in the CRM's own spelling of it."""
        ...
