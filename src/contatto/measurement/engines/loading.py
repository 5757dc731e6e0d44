"""Rows of Python into tables of DuckDB."""

from collections.abc import Iterable, Mapping
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    import duckdb

AT_ONCE: Final = 20_000
_ENCODER: Final = msgspec.json.Encoder()


def create_table(
    db: "duckdb.DuckDBPyConnection", table: str, columns: Mapping[str, str], kind: str = "TABLE"
) -> None:
    described = ", ".join(f'"{name}" {of}' for name, of in columns.items())
    db.execute(f"CREATE {kind} {table} ({described})")


def load_rows(
    db: "duckdb.DuckDBPyConnection",
    table: str,
    columns: Mapping[str, str],
    rows: Iterable[object],
    folder: Path,
) -> None:
    """Append rows through files of JSON Lines: the fastest way into DuckDB that needs no Arrow.

    Rows are dictionaries, dataclasses or structs; ``columns`` are those to take, with their types.
    """
    picked = ", ".join(f'"{name}"' for name in columns)
    described = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    path = folder / f"{table}.jsonl"
    for several in batched(rows, AT_ONCE):
        path.write_bytes(_ENCODER.encode_lines(several))
        db.execute(
            f"INSERT INTO {table} SELECT {picked} FROM read_json(?, format = 'newline_delimited',"
            f" columns = {{{described}}}, maximum_object_size = 33554432)",
            [str(path)],
        )
        path.unlink()
