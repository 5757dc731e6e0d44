"""Choosing the engine by the URL's scheme."""

from importlib import import_module

from contatto.kit.clock import Clock
from contatto.kit.db.database import Database
from contatto.kit.db.sqlite import SqliteDatabase
from contatto.kit.parts import NO_PARTS, Parts
from contatto.kit.vault import Vault


def open_database(url: str, clock: Clock, vault: Vault, ports: Parts = NO_PARTS) -> Database:
    """Open the storage that a SQLAlchemy URL names; work that needs a port which is not handed in fails.

    Raises:
        ValueError: the scheme is neither sqlite nor postgresql.
    """
    if url.startswith("sqlite:"):
        return SqliteDatabase(url, clock, vault, ports)
    if url.startswith("postgresql"):
        # Its driver takes 10 MiB of memory, which a process on SQLite does without.
        postgres = import_module("contatto.kit.db.postgres")
        used = url.replace("postgresql://", "postgresql+psycopg://", 1)
        opened: Database = postgres.PostgresDatabase(used, clock, vault, ports)
        return opened
    raise ValueError("database_url must start with sqlite: or postgresql:")
