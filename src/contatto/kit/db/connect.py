"""Opening of storage: keys, file rights, engine, and key rotation."""

import stat
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, Table, func, literal, select, tuple_

from contatto.kit.clock import Clock
from contatto.kit.db.database import Database
from contatto.kit.db.sqlite import SqliteDatabase
from contatto.kit.db.tx import NO_PARTS, Parts, Tx
from contatto.kit.db.types import SEALED, metadata, row_columns, sealed_place
from contatto.kit.settings import Settings
from contatto.kit.vault import KEY_FILE, Vault, load_keys, sealed_head, vault_of

_OTHER_USERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FILE_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")
"""Suffixes of SQLite's files, which inherit the rights of the database."""


def take_from_others(paths: Iterable[Path]) -> None:
    """Remove the rights of other users from existing files, such as a restored backup."""
    for path in paths:
        if path.is_file() and (mode := path.stat().st_mode) & _OTHER_USERS:
            path.chmod(stat.S_IMODE(mode) & ~_OTHER_USERS)


def files_of_sqlite(url: str) -> list[Path]:
    """Return the files of a SQLite URL; none for another engine."""
    path = url.removeprefix("sqlite:///").partition("?")[0]
    return [Path(f"{path}{end}") for end in _FILE_SUFFIXES] if path != url else []


def open_database(url: str, clock: Clock, vault: Vault, ports: Parts = NO_PARTS) -> Database:
    """Open the storage of a SQLAlchemy URL.

    Raises:
        ValueError: the scheme is neither sqlite nor postgresql.
    """
    if url.startswith("sqlite:"):
        return SqliteDatabase(url, clock, vault, ports)
    if url.startswith("postgresql"):
        # Loaded lazily: its driver takes 10 MiB of memory.
        postgres = import_module("contatto.kit.db.postgres")
        used = url.replace("postgresql://", "postgresql+psycopg://", 1)
        opened: Database = postgres.PostgresDatabase(used, clock, vault, ports)
        return opened
    raise ValueError("database_url must start with sqlite: or postgresql:")


def open_storage(settings: Settings, clock: Clock, ports: Parts) -> Database:
    """Open the storage of an installation with its keys, readable by its owner only."""
    vault = vault_of(load_keys(settings.secret_keys, settings.data_dir))
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    take_from_others([settings.data_dir / KEY_FILE, *files_of_sqlite(settings.url)])
    return open_database(settings.url, clock, vault, ports)


type Progress = Callable[[int], None]


def count_sealed_rows(tx: Tx) -> int:
    """Count the rows of all tables with sealed columns."""
    return sum(int(tx.scalar(select(func.count()).select_from(table))) for table, _ in _sealed_columns())


def count_sealed_with(tx: Tx, key_id: str) -> int:
    """Count the values of all tables that only this key opens."""
    head = sealed_head(key_id)
    return sum(
        int(tx.scalar(select(func.count()).where(func.substr(column, 1, len(head)) == literal(head))))
        for _, columns in _sealed_columns()
        for column in columns
    )


def reseal_all(db: Database, progress: Progress, batch: int = 500) -> int:
    """Seal all values of older keys with the newest one, in short transactions.

    The installation goes on working. A second run skips finished rows. ``progress`` gets the number of rows
    per step.

    Returns:
        The number of values that were sealed again.
    """
    changed = 0
    for table, columns in _sealed_columns():
        keys = tuple(table.primary_key.columns)
        last: tuple[Any, ...] | None = None
        while True:
            row_count, count, last = db.write_now(_step(table, keys, columns, (last, batch)))
            changed += count
            progress(row_count)
            if row_count < batch:
                break
    return changed


def _sealed_columns() -> Iterator[tuple[Table, list[Column[Any]]]]:
    for table in metadata.sorted_tables:
        columns = [column for column in table.columns if column.info.get(SEALED)]
        if columns:
            yield table, columns


def _step(
    table: Table,
    keys: tuple[Column[Any], ...],
    columns: list[Column[Any]],
    place: tuple[tuple[Any, ...] | None, int],
) -> Callable[[Tx], tuple[int, int, tuple[Any, ...] | None]]:
    """Return a batch; it returns its row count, its sealed values and its last key."""
    last, batch = place

    def work(tx: Tx) -> tuple[int, int, tuple[Any, ...] | None]:
        naming = (table.c[name] for name in row_columns(table))
        read = list(dict.fromkeys((*keys, table.c.business_id, *naming, *columns)))
        statement = select(*read).order_by(*keys).limit(batch)
        query = statement if last is None else statement.where(tuple_(*keys) > tuple_(*last))
        # Locked, so that a concurrent change is not overwritten.
        rows = tx.execute(query.with_for_update() if tx.locks_rows else query).mappings().all()
        changed = 0
        for row in rows:
            fresh = {
                column.name: tx.vault.reseal(value, *sealed_place(column, row))
                for column in columns
                if (value := row[column.name]) is not None and not tx.vault.is_current(value)
            }
            if fresh:
                tx.execute(table.update().where(*(key == row[key.name] for key in keys)).values(**fresh))
                changed += len(fresh)
        return len(rows), changed, tuple(rows[-1][key.name] for key in keys) if rows else last

    return work
