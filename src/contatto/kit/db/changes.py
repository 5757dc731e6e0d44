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
_NO_TABLE: Final = ""
"""Stands for a change of which nobody is told; without it a transaction would look as if all were unknown."""
_KEPT: Final = "changed_tables"
_WRITES_WITHIN: Final = re.compile(
    r"\b(?:INSERT(?: OR \w+)?\s+INTO|DELETE\s+FROM|MERGE\s+INTO|(?<!FOR )(?<!KEY )UPDATE)\b"
)
"""A query may begin with WITH too; locking its rows changes none of them."""
_WRITES: Final = re.compile(r'\s*(?:INSERT(?: OR \w+)? INTO|UPDATE(?: OR \w+)?|DELETE FROM|(WITH))\s+"?(\w+)')


@lru_cache(maxsize=2_048)
def table_of(sql: str) -> str:
    """The table that a statement writes to, ``*`` for one that is not plain to see, empty for a query."""
    match = _WRITES.match(sql)
    if match is None:
        return ""
    if match[1]:
        return _ANY if _WRITES_WITHIN.search(sql) else ""
    return match[2]


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


def has_changes(connection: Connection) -> bool:
    """Return whether anything was written since the changes were taken last, as far as its words tell."""
    return bool(connection.info.get(_KEPT))


def keep_to_ourselves(connection: Connection, table: str) -> None:
    """Wake nobody here for what was changed of a table up to now: who changed it has seen to all of it."""
    changed: set[str] = connection.info.get(_KEPT, set())
    if table in changed:
        changed.remove(table)
        changed.add(_NO_TABLE)


def names_of(tables: Tables) -> str:
    """Changed tables in a line to other processes; empty where they have to look at all of theirs.

    What was seen to here alone is among these.
    """
    return "" if tables is None or _NO_TABLE in tables else ",".join(sorted(tables))


def tables_of(names: str) -> Tables:
    """The changed tables of such a line."""
    return names.split(",") if names else None


def concerns(wanted: Tables, changed: Tables) -> bool:
    """Return whether who waits for changes of some tables is concerned by one of others."""
    return wanted is None or changed is None or not set(wanted).isdisjoint(changed)
