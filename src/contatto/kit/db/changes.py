"""Which tables a transaction changed, so that only who may find work there is woken by its commit."""

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

type Listener = Callable[[], None]
type Tables = Collection[str] | None
"""Names of tables; None stands for any."""

_ANY: Final = "*"
_KEPT: Final = "changed_tables"
_WRITES: Final = re.compile(r'\s*(?:INSERT(?: OR \w+)? INTO|UPDATE(?: OR \w+)?|DELETE FROM|(WITH))\s+"?(\w+)')


@lru_cache(maxsize=2_048)
def table_of(sql: str) -> str:
    """The table that a statement writes to, ``*`` for one that is not plain to see, empty for a query."""
    found = _WRITES.match(sql)
    if found is None:
        return ""
    return _ANY if found[1] else found[2]


def note_changes(source: Engine | Connection) -> None:
    """Note the tables of all that is written through an engine or a connection from now on."""
    event.listen(source, "before_cursor_execute", _note)


def _note(connection: Connection, _cursor: object, sql: str, *_rest: Any) -> None:
    note_change(connection, sql)


def note_change(connection: Connection, sql: str) -> None:
    """Note what a statement changes that goes past SQLAlchemy."""
    table = table_of(sql)
    if table:
        connection.info.setdefault(_KEPT, set()).add(table)


def take_changes(connection: Connection) -> Tables:
    """The tables that were written to since this was asked last; None when that is not known."""
    changed: set[str] = connection.info.pop(_KEPT, set())
    return None if not changed or _ANY in changed else changed


def concerns(wanted: Tables, changed: Tables) -> bool:
    """Whether who waits for changes of some tables is concerned by one of others."""
    return wanted is None or changed is None or not set(wanted).isdisjoint(changed)
