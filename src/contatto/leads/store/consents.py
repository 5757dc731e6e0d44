"""What persons agreed to: a capability above knows, and puts a look-up into this table."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from contatto.kit.db.tx import Tx


class Consent(Protocol):
    """One answer to a question for consent, with the text that was asked."""

    @property
    def at(self) -> datetime: ...

    @property
    def given(self) -> bool: ...

    @property
    def text(self) -> str: ...


CONSENTS: Final[dict[str, Callable[[Tx, str, str], Sequence[Consent]]]] = {}
"""The receipts of a business's lead, by who keeps them; ``wiring`` fills it."""
