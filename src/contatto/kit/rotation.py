"""Rotating the keys: every sealed value is opened with its own key and sealed with the newest one."""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Column, Table, func, literal, select, tuple_

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import SEALED, metadata, row_columns, sealed_place
from contatto.kit.vault import sealed_head

type Progress = Callable[[int], None]


def count_sealed_rows(tx: Tx) -> int:
    """Rows that may hold a sealed value, over all tables."""
    return sum(int(tx.scalar(select(func.count()).select_from(table))) for table, _ in _sealed_columns())


def count_sealed_with(tx: Tx, key_id: str) -> int:
    """Values, over all tables, that only this key opens."""
    head = sealed_head(key_id)
    return sum(
        int(tx.scalar(select(func.count()).where(func.substr(column, 1, len(head)) == literal(head))))
        for _, columns in _sealed_columns()
        for column in columns
    )


def reseal_all(db: Database, progress: Progress, batch: int = 500) -> int:
    """Seal what older keys sealed anew, in short transactions, while the installation goes on working.

    It may be stopped and started again: what is done is skipped. ``progress`` is told how many rows each step
    looked at.

    Returns:
        How many values were sealed anew.
    """
    changed = 0
    for table, columns in _sealed_columns():
        keys = tuple(table.primary_key.columns)
        last: tuple[Any, ...] | None = None
        while True:
            seen, count, last = db.write_now(_step(table, keys, columns, (last, batch)))
            changed += count
            progress(seen)
            if seen < batch:
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
    """One batch: how many rows it saw, how many values it sealed anew, and the key that it ended at."""
    last, batch = place

    def work(tx: Tx) -> tuple[int, int, tuple[Any, ...] | None]:
        naming = (table.c[name] for name in row_columns(table))
        read = list(dict.fromkeys((*keys, table.c.business_id, *naming, *columns)))
        statement = select(*read).order_by(*keys).limit(batch)
        wanted = statement if last is None else statement.where(tuple_(*keys) > tuple_(*last))
        # Held until the end: else a value that somebody changes meanwhile would be written over.
        rows = tx.execute(wanted.with_for_update() if tx.locks_rows else wanted).mappings().all()
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
