"""The tables of all capabilities, made by the schema steps that a real installation runs."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

import sqlalchemy

from contatto.migrations.steps import migrate_schema


def create_schema(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    migrate_schema(engine)
    engine.dispose()


def copy_schema(path: Path) -> None:
    """Put a SQLite file with every table and no row at a path, unless one is there: the steps take longer."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_template(), path)


@cache
def _template() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="contatto-schema-")
    _kept.append(folder)
    path = Path(folder.name) / "template.db"
    create_schema(f"sqlite:///{path}")
    return path


_kept: list[tempfile.TemporaryDirectory[str]] = []
"""Folders that go when the process ends."""
