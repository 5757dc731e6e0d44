"""Opening storage: the keys, the folder, and the engine that the URL names."""

from importlib import import_module

from contatto.kit.clock import Clock
from contatto.kit.db.database import Database
from contatto.kit.db.sqlite import SqliteDatabase
from contatto.kit.keys import KEY_FILE, load_keys
from contatto.kit.parts import NO_PARTS, Parts
from contatto.kit.private_files import files_of_sqlite, take_from_others
from contatto.kit.settings import Settings
from contatto.kit.vault import Vault, vault_of


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


def open_storage(settings: Settings, clock: Clock, ports: Parts) -> Database:
    """Open the storage of an installation with its keys, in a folder that is for its owner alone."""
    vault = vault_of(load_keys(settings.secret_keys, settings.data_dir))
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    take_from_others([settings.data_dir / KEY_FILE, *files_of_sqlite(settings.url)])
    return open_database(settings.url, clock, vault, ports)
