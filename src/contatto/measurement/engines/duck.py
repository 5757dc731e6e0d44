"""DuckDB, the embedded engine: the definition over the staged tables, in place."""

from contatto.measurement.engines.staging import Staged
from contatto.measurement.engines.statements import sql_of, winners_sql
from contatto.measurement.model import Policy


def fill_results(staged: Staged, policy: Policy, _connection: str = "") -> None:
    staged.db.execute(f"CREATE TABLE winners AS {winners_sql('duckdb', policy)}")
    for name in staged.results:
        staged.db.execute(f"CREATE TABLE {name} AS {sql_of('duckdb', name)}")
