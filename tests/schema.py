"""The tables of all capabilities, made by the schema steps that a real installation runs."""

import sqlalchemy

from contatto.migrations.steps import migrate_schema


def create_schema(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    migrate_schema(engine)
    engine.dispose()
