"""Choosing the engine by the URL's scheme."""

from contatto.kit.clock import Clock
from contatto.kit.db.database import Database
from contatto.kit.db.postgres import PostgresDatabase
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
        return PostgresDatabase(url.replace("postgresql://", "postgresql+psycopg://", 1), clock, vault, ports)
    raise ValueError("database_url must start with sqlite: or postgresql:")
