"""The driver of PostgreSQL is told to send lists that are written as arrays as they are.

It stands apart so that a process on SQLite needs no driver of PostgreSQL.
"""

from typing import Any

from psycopg import adapters
from psycopg.adapt import Dumper
from psycopg.pq import Format

from contatto.kit.db.arrays import KINDS, ArrayKind


def register_dumpers() -> None:
    """For all connections of this process that are opened from now on."""
    for kind in KINDS.values():
        adapters.register_dumper(kind.shape, _dumper(kind))


def _dumper(kind: ArrayKind) -> type[Dumper]:
    class _AsItIs(Dumper):
        format = Format.BINARY
        oid = kind.array

        def dump(self, obj: Any) -> bytes:
            return bytes(obj)

    return _AsItIs
