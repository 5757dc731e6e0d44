"""Statements are compiled once in a process, not once for each of the thousand databases that tests open."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import Engine, create_engine

PLACES: Final = ("contatto.kit.db.postgres.create_engine", "contatto.kit.db.sqlite.create_engine")
_first: dict[str, Engine] = {}


@contextmanager
def compiled_once() -> Iterator[None]:
    """All engines of a kind share the dialect and the compiled statements of the first."""
    with pytest.MonkeyPatch.context() as patch:
        for place in PLACES:
            patch.setattr(place, _create_engine)
        yield


def _create_engine(*given: Any, **named: Any) -> Engine:
    engine = create_engine(*given, **named)
    first = _first.setdefault(engine.dialect.name, engine)
    engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache
    return engine
