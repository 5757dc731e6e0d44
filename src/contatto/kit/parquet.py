"""Rows of Python into tables of DuckDB, and into sorted Parquet files that survive a crash at any moment."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    import duckdb

AT_ONCE: Final = 20_000
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a file with their types in DuckDB, and what its rows are sorted by."""

    columns: Mapping[str, str]
    order: str


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


def write_parquet(path: Path, layout: Layout, rows: Iterable[object], *, keep_empty: bool = False) -> int:
    """Write all rows and say how many; what a crash left under this name is replaced even by none.

    Raises:
        OSError: the disk is full, or fails; nothing is left that counts.
    """
    duckdb = import_module("duckdb")  # 27 MiB that a process which never writes files does without
    try:
        with tempfile.TemporaryDirectory(prefix="contatto-") as scratch, duckdb.connect() as db:
            create_table(db, "sealed", layout.columns)
            load_rows(db, "sealed", layout.columns, rows, Path(scratch))
            count = int(db.execute("SELECT count(*) FROM sealed").fetchall()[0][0])
            if count or keep_empty or path.exists():
                copy_to_file(db, f"SELECT * FROM sealed ORDER BY {layout.order}", path)
    except duckdb.IOException as error:
        raise OSError(f"{path} could not be written: {error}") from error
    return count


def copy_to_file(db: "duckdb.DuckDBPyConnection", query: str, path: Path) -> None:
    """Write what a query gives to a file, which has a temporary name until it is on the disk.

    Raises:
        OSError: the disk is full, or fails; nothing is left that counts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    target = str(unfinished).replace("'", "''")
    try:
        db.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
        sync(unfinished)
        unfinished.replace(path)
    except (import_module("duckdb").IOException, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(f"{path} could not be written: {error}") from error
    for folder in (path.parent, path.parent.parent):
        sync(folder)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
