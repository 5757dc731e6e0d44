"""Lists as PostgreSQL's arrays: what goes in comes out."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from contatto.kit.db.database import Database
from contatto.kit.db.tx import array_of

KINDS = {
    "TEXT": some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    "BIGINT": some.integers(-(2**63), 2**63 - 1),
    "BYTEA": some.binary(),
    "DOUBLE PRECISION": some.floats(allow_nan=False),
    "BOOLEAN": some.booleans(),
}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.data())
def test_a_list_of_any_values_comes_back_as_it_was(database: Database, data: some.DataObject) -> None:
    lists = {kind: data.draw(some.lists(some.none() | values)) for kind, values in KINDS.items()}
    asked = ", ".join(f"%s::{kind}[]" for kind in lists)
    sent = tuple(array_of(*each) for each in lists.items())

    def read(tx: Any) -> Any:
        return tx.connection.exec_driver_sql(f"SELECT {asked}", sent).one()

    assert list(database.read_now(read)) == list(lists.values())


def test_a_list_with_a_value_of_another_type_is_left_to_the_driver() -> None:
    assert array_of("BIGINT", [1, object]) == [1, object]
    assert array_of("TEXT", ["a", 1]) == ["a", 1]
    assert array_of("INET", ["::1"]) == ["::1"]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_text_with_a_nul_character_comes_back_with_a_mark_in_its_place(database: Database) -> None:
    def read(tx: Any) -> Any:
        return tx.connection.exec_driver_sql("SELECT %s::TEXT[]", (array_of("TEXT", ["a\0b"]),)).scalar()

    assert database.read_now(read) == ["a\ufffdb"]
