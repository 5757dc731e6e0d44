"""Where a value of a person stands in storage, in clear or as a hash that can be made without a key.

A phone number has some ten billion spellings at most: whoever has its plain hash tries them all in minutes.
"""

import base64
import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
from sqlalchemy import inspect

from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx

ALGORITHMS: Final = ("md5", "sha1", "sha256", "sha512", "blake2b")
_UUID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass
class Marks:
    """What is looked for: values in all the spellings that they were given in or are kept by.

    Args:
        values: spellings in clear.
        namespaces: UUIDs of this installation, as ids may be derived of one of them and a value.
    """

    values: tuple[str, ...]
    namespaces: Iterable[str] = ()
    _clear: dict[bytes, str] = field(init=False, default_factory=dict)
    _hashed: dict[bytes, str] = field(init=False, default_factory=dict)
    _ids: dict[bytes, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        spellings = {form for value in self.values for form in (value, value.lower(), value.lstrip("+@"))}
        self._clear = {each.casefold().encode(): each for each in spellings}
        for each in spellings:
            for name in ALGORITHMS:
                digest = hashlib.new(name, each.encode()).digest()
                label = f"{name} of {each}"
                self._hashed |= {digest[:12]: label, digest.hex()[:24].encode(): label}
                self._hashed[base64.b64encode(digest)[:16]] = label
                self._hashed[base64.urlsafe_b64encode(digest)[:16]] = label
            for prefix in ("", "conversation:", "message:"):
                for namespace in self.namespaces:
                    made = uuid.uuid5(uuid.UUID(namespace), prefix + each)
                    self._ids[str(made).encode()] = f"id made of {each}"

    def of(self, raw: bytes) -> str:
        """The form in which a mark stands in some bytes; nothing is empty."""
        lower = raw.lower()
        for needle, each in self._clear.items():
            if needle in lower:
                return f"{each} in clear"
        for needle, label in self._hashed.items():
            if needle in raw or needle in lower:
                return label
        return next((self._ids[found] for found in _UUID.findall(lower) if found in self._ids), "")


def cells(db: Database) -> Iterator[tuple[str, bytes]]:
    """Every value of the database as the driver gives it, with its table and column."""

    def read(tx: Tx) -> list[tuple[str, bytes]]:
        cursor = tx.connection.connection.cursor()
        found: list[tuple[str, bytes]] = []
        for table in sorted(inspect(tx.connection).get_table_names()):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - our own names
            names = [str(column[0]) for column in cursor.description or ()]
            for row in cursor.fetchall():
                found += [(f"{table}.{name}", _bytes(value)) for name, value in zip(names, row, strict=True)]
        return found

    yield from db.read_now(read)


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, (bytes, memoryview)) else str(value).encode()


def in_database(db: Database, marks: Marks) -> set[tuple[str, str]]:
    """Where marks stand: pairs of ``table.column`` and the form."""
    return {(place, form) for place, raw in cells(db) if (form := marks.of(raw))}


def in_files(folder: Path, marks: Marks) -> set[tuple[str, str]]:
    """Where marks stand in files below a folder: pairs of the file's name and the form."""
    found = ((path.name, marks.of(_content(path))) for path in folder.rglob("*") if path.is_file())
    return {(name, form) for name, form in found if form}


def _content(path: Path) -> bytes:
    """The bytes of a file; of Parquet, which is compressed, its rows as text."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    with duckdb.connect() as engine:
        return repr(engine.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()).encode()


def all_ids(db: Database) -> set[str]:
    """Every UUID that stands in the database."""
    return {found.decode() for _, raw in cells(db) for found in _UUID.findall(raw)}
