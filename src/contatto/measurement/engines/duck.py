"""DuckDB, the embedded engine: the definition over the staged tables, in place."""

from typing import Final

from contatto.measurement.engines.staging import Staged
from contatto.measurement.engines.statements import sql_of, winners_sql
from contatto.measurement.model import Policy

RESULTS: Final = ("attributions", "report", "unattributed")
"""The tables that every engine leaves in the staged database."""


def fill_results(staged: Staged, policy: Policy, _connection: str = "") -> None:
    staged.db.execute(f"CREATE TABLE winners AS {winners_sql('duckdb', policy)}")
    for name in RESULTS:
        staged.db.execute(f"CREATE TABLE {name} AS {sql_of('duckdb', name)}")
