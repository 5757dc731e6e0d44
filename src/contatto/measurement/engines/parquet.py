"""Python rows in DuckDB tables, and sorted Parquet files that survive a crash.

A child process writes the files: DuckDB takes 27 MiB to load, and 100 more after a sort.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import batched
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    import duckdb

AT_ONCE: Final = 20_000
DISK_FAILED: Final = 3
"""The exit code of a writing process whose disk is full, or failed; its output says how."""
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of a file with their DuckDB types, and its sort order in SQL."""

    columns: Mapping[str, str]
    order: str


def columns_of(described: str) -> dict[str, str]:
    """Return columns with their types, from text such as ``ts BIGINT, day DATE``."""
    return dict(column.split() for column in described.split(", "))


class WriteRequest(msgspec.Struct, frozen=True):
    """First message to the writing process; rows follow, in any order, and an empty message ends them."""

    path: str
    columns: dict[str, str]
    order: str
    keep_empty: bool


def create_table(
    db: "duckdb.DuckDBPyConnection", table: str, columns: Mapping[str, str], kind: str = "TABLE"
) -> None:
    described = ", ".join(f'"{name}" {sql_type}' for name, sql_type in columns.items())
    db.execute(f"CREATE {kind} {table} ({described})")


def append_rows(
    db: "duckdb.DuckDBPyConnection",
    table: str,
    columns: Mapping[str, str],
    rows: Iterable[object],
    folder: Path,
) -> None:
    """Append rows through files of JSON Lines, the fastest way into DuckDB without Arrow.

    Rows are dictionaries, dataclasses or structs; ``columns`` are the fields to read, with their types.
    """
    path = folder / f"{table}.jsonl"
    for batch in batched(rows, AT_ONCE):
        path.write_bytes(_ENCODER.encode_lines(batch))
        append_lines(db, table, columns, path)


def append_lines(
    db: "duckdb.DuckDBPyConnection", table: str, columns: Mapping[str, str], lines: Path
) -> None:
    """Append the rows of a file of JSON Lines, and remove it."""
    picked = ", ".join(f'"{name}"' for name in columns)
    described = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    db.execute(
        f"INSERT INTO {table} SELECT {picked} FROM read_json(?, format = 'newline_delimited',"
        f" columns = {{{described}}}, maximum_object_size = 33554432)",
        [str(lines)],
    )
    lines.unlink()


def write_parquet(path: Path, layout: Layout, rows: Iterable[object], *, keep_empty: bool = False) -> int:
    """Write all rows in a child process, and return their number.

    Without rows it replaces an existing file, but creates one only with ``keep_empty``.

    Raises:
        OSError: the disk is full, or fails; no finished file is left.
        RuntimeError: the writing process failed for another reason.
    """
    request = WriteRequest(str(path.resolve()), dict(layout.columns), layout.order, keep_empty)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONTATTO_")}
    writer = subprocess.Popen(
        [sys.executable, "-I", "-m", "contatto.measurement.engines.parquet"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    with writer:
        assert writer.stdin is not None and writer.stdout is not None  # noqa: S101, PT018  # both are pipes
        try:
            _send(writer.stdin, _ENCODER.encode(request))
            for batch in batched(rows, AT_ONCE):
                _send(writer.stdin, _ENCODER.encode_lines(batch))
            _send(writer.stdin, b"")
            writer.stdin.close()
        except BrokenPipeError:
            pass  # the writer ended; its answer says why
        except BaseException:
            writer.kill()
            raise
        answer = writer.stdout.read()
    if writer.returncode == DISK_FAILED:
        raise OSError(answer.decode())
    if writer.returncode:
        raise RuntimeError(f"{path} could not be written: exit {writer.returncode}")
    return int(answer)


def _send(stream: IO[bytes], part: bytes) -> None:
    stream.write(len(part).to_bytes(8))
    stream.write(part)


def _receive(stream: IO[bytes]) -> bytes:
    """Read a part. Raises EOFError: the sender is gone."""
    size = stream.read(8)
    part = stream.read(int.from_bytes(size))
    if len(size) < 8 or len(part) < int.from_bytes(size):
        raise EOFError
    return part


def copy_to_file(db: "duckdb.DuckDBPyConnection", query: str, path: Path, group_rows: int = 122_880) -> None:
    """Write the rows of a query to a file, under a temporary name until it is on the disk.

    ``group_rows`` is the size of a row group, the unit of reading; the default is DuckDB's own.

    Raises:
        OSError: the disk is full, or fails; no finished file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    target = str(unfinished).replace("'", "''")
    try:
        db.execute(
            f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {group_rows})"
        )
        sync(unfinished)
        unfinished.replace(path)
    except (import_module("duckdb").IOException, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(f"{path} could not be written: {error}") from error
    for folder in (path.parent, path.parent.parent):
        sync(folder)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> int:
    """Write one file, as the child process of `write_parquet`. Raises EOFError if its parent is gone."""
    os.umask(0o077)
    parts, answer = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    duckdb = import_module("duckdb")
    with answer:
        request = msgspec.json.decode(_receive(parts), type=WriteRequest)
        path = Path(request.path)
        try:
            with tempfile.TemporaryDirectory(prefix="contatto-") as scratch, duckdb.connect() as db:
                create_table(db, "sealed", request.columns)
                lines = Path(scratch) / "sealed.jsonl"
                while part := _receive(parts):
                    lines.write_bytes(part)
                    append_lines(db, "sealed", request.columns, lines)
                count = int(db.execute("SELECT count(*) FROM sealed").fetchall()[0][0])
                if count or request.keep_empty or path.exists():
                    copy_to_file(db, f"SELECT * FROM sealed ORDER BY {request.order}", path)
            answer.write(str(count).encode())
        except (OSError, duckdb.IOException) as error:
            says = str(error)
            failure = says if request.path in says else f"{request.path} could not be written: {says}"
            answer.write(failure.encode())
            return DISK_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
