"""How the chats of leads stand: a capability above knows, and puts selects of lead ids into this table."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Select

from contatto.kit.db.tx import Tx
from contatto.leads.rules.filters import ThreadState

THREADS: Final[dict[ThreadState, Callable[[Tx, str], Select[Any]]]] = {}
"""For each state of a chat the ids of leads of a business; ``wiring`` fills it."""
