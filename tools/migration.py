"""Writes a new schema step: the difference between the steps that are there and the tables in the code."""

import sys
import tempfile
from pathlib import Path

import sqlalchemy

from contatto.migrations.steps import migrate_schema, write_step

VERSIONS = Path("src/contatto/migrations/versions")


def main(message: str) -> int:
    if not message:
        print('Say what changes: make migration m="add a table of notes"')
        return 2
    number = f"{len(list(VERSIONS.glob('[0-9]*.py'))) + 1:04d}"
    with tempfile.TemporaryDirectory() as folder:
        engine = sqlalchemy.create_engine(f"sqlite:///{folder}/steps.sqlite3")
        migrate_schema(engine)
        write_step(engine, message, number)
        engine.dispose()
    print(f"Wrote {VERSIONS}/{number}_*.py. Read it, run make fix, and commit it with the change.")
    return 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:]).strip()))
