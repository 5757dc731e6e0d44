"""The tables of all capabilities, made in an empty database."""

import importlib.util
import pkgutil

import sqlalchemy

import contatto
from contatto.kit.db.types import metadata


def create_schema(url: str) -> None:
    for capability in pkgutil.iter_modules(contatto.__path__, "contatto."):
        if capability.ispkg and importlib.util.find_spec(f"{capability.name}.store"):
            importlib.import_module(f"{capability.name}.store")
    importlib.import_module("contatto.kit.outbox")
    engine = sqlalchemy.create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
